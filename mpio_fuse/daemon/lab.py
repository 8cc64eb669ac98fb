"""What a mount can have around its transports: faults, in a lab, and a trace.

Faults named when mounting count from the opening of the first underpath, which is before anything was sent: also
what finds the LUNs can be struck.  Requests to the control socket change them afterwards, in a lab only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import structlog
import trio

from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.fault_language import parse_fault
from mpio_fuse.transport.fault_set import Fault, Faults
from mpio_fuse.transport.fault_spec import FaultSpec
from mpio_fuse.transport.faults import FaultTransport
from mpio_fuse.transport.trace import TraceFile

log = structlog.get_logger(__name__)


class Lab:
    """The faults of one mount."""

    def __init__(self, specs: Sequence[FaultSpec] = ()) -> None:
        self.faults = Faults()
        self.faults.require_room(len(specs))
        self._first = tuple(specs)
        self._underpaths: set[str] = set()

    def wrap(self, transport: Transport) -> Transport:
        """The transport, with whatever faults its underpath has and will have."""
        if not self._underpaths:
            for spec in self._first:
                self._set(spec)
        self._underpaths.add(transport.name)
        return FaultTransport(transport, self.faults)

    def announce(self, warn: Callable[[str], None]) -> None:
        """Say that this is a lab, to the log and to whoever mounts."""
        log.warning("this is a lab: commands can be made to fail", faults=len(self._first))
        warn(f"this is a lab: commands can be made to fail ({len(self._first)} faults set)")

    def of_nobody(self) -> list[str]:
        """A warning for each fault that is about no underpath seen so far."""
        return [
            f"fault {fault.number} ({fault.spec.line}): there is no such underpath here"
            for fault in self.faults
            if not self._is_known(fault.spec)
        ]

    def report(self) -> list[dict[str, Any]]:
        """The faults as plain data (docs/status.md)."""
        now_s = trio.current_time()
        return [
            {
                "number": fault.number,
                "underpath": fault.spec.underpath,
                "fault": fault.spec.text,
                "state": fault.state(now_s),
                "seen": fault.seen,
                "struck": fault.struck,
            }
            for fault in self.faults
        ]

    def add(self, line: str) -> int:
        """Set a fault; gives its number.

        Raises:
            UsageError: it cannot be understood, is about no underpath, or there are too many.
        """
        spec = parse_fault(line)
        if not self._is_known(spec):
            hint = "'mpio-fuse status' shows which there are"
            raise UsageError(f"there is no underpath {spec.underpath!r} here", hint=hint)
        return self._set(spec).number

    def clear(self, numbers: Sequence[int] | None) -> None:
        """Lift these faults, or (None) all.

        Raises:
            UsageError: there is none of such a number; then nothing is lifted.
        """
        for fault in self.faults.clear(numbers):
            line = fault.spec.line
            log.warning("fault cleared", number=fault.number, fault=line, struck=fault.struck)

    def _set(self, spec: FaultSpec) -> Fault:
        fault = self.faults.add(spec, trio.current_time())
        log.warning("fault set", number=fault.number, fault=spec.line)
        return fault

    def _is_known(self, spec: FaultSpec) -> bool:
        return any(spec.is_about(name) for name in self._underpaths)


@attrs.frozen(eq=False)
class Instruments:
    """A lab and a trace; mostly neither."""

    lab: Lab | None = None
    trace: TraceFile | None = None

    def __bool__(self) -> bool:
        return self.lab is not None or self.trace is not None

    def wrap(self, transport: Transport) -> Transport:
        """The trace is around the faults: it has what we were told, true or not."""
        if self.lab is not None:
            transport = self.lab.wrap(transport)
        return transport if self.trace is None else self.trace.wrap(transport)

    def warnings(self) -> list[str]:
        """What somebody who mounts should know once all underpaths are open."""
        found = self.lab.of_nobody() if self.lab else []
        for text in found:
            log.warning("fault of nobody", cause=text)
        return found

    def report(self) -> dict[str, Any]:
        """Their part of the status (docs/status.md)."""
        lab, trace = self.lab, self.trace
        return {
            "lab": None if lab is None else {"faults": lab.report()},
            "trace": None if trace is None else trace.report(),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request about faults.

        Raises:
            MpioError: this is no lab.
            UsageError: there is no such fault, underpath or action.
        """
        if self.lab is None:
            hint = "unmount it, and mount it with --lab, where nobody's data depends on it"
            raise MpioError(
                "not mounted with --lab: its commands cannot be made to fail", hint=hint
            )
        match request:
            case {"action": "list"}:
                return {"ok": True, "faults": self.lab.report()}
            case {"action": "add", "fault": str(line)}:
                return {"ok": True, "number": self.lab.add(line)}
            case {"action": "clear", "numbers": None}:
                self.lab.clear(None)
                return {"ok": True}
            case {"action": "clear", "numbers": [*numbers]} if all(
                isinstance(one, int) for one in numbers
            ):
                self.lab.clear(numbers)
                return {"ok": True}
        raise UsageError("unknown request about faults", hint="is this daemon of another version?")
