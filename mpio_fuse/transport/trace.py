"""A transport around any other that writes down what went through it: one line for each command, when it has ended.

Columns are separated by tabs (`COLUMNS`): when it began, by the machine's monotonic clock; the underpath; the command;
its CDB in hexadecimal; how much data and which way; how many seconds it took; how it ended.  What is in a line comes
from our own code and from decoders, or is made printable.  The data itself is never written.

Each line is one write(2), so that nothing is lost with the process and lines of several daemons do not mix.  A file
that cannot be written any more ends the trace, never a command: `TraceFile.problem` says why.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from mpio_fuse.errors import MpioError, TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.scsi.verdict import describe
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.fault_words import RESET

COLUMNS = ("began_s", "underpath", "command", "cdb", "data", "took_s", "result")
"""``data``: ``in`` or ``out`` and its length in bytes, with what of it was not transferred; ``-`` without data."""

Clock = Callable[[], float]


@attrs.define(eq=False)
class TraceFile:
    """A trace that is being written.  ``lines``: how many commands are in it."""

    file: Path
    _fd: int
    clock: Clock = time.monotonic
    lines: int = 0
    problem: str | None = None

    @classmethod
    def open(cls, file: Path, clock: Clock = time.monotonic) -> "TraceFile":
        """Append to ``file``, which is made if need be; a heading says what the columns are.

        Raises:
            MpioError: it cannot be written.
        """
        # Without waiting: of a pipe that nobody reads, everything would wait.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            fd = os.open(file, flags, 0o640)
        except OSError as error:
            hint = "name a file in a directory that can be written"
            raise MpioError(f"trace {file}: {error.strerror}", hint=hint) from None
        trace = cls(file, fd, clock)
        trace._write("# " + "\t".join(COLUMNS))
        return trace

    def wrap(self, transport: Transport) -> "TraceTransport":
        """The transport, traced."""
        return TraceTransport(transport, self)

    def record(self, underpath: str, command: Command, began_s: float, result: str) -> None:
        """Write one line; ``underpath`` is printable."""
        took_s = self.clock() - began_s
        cdb = command.cdb.hex() or "-"
        fields = (f"{began_s:.6f}", underpath, command.name, cdb, _data(command))
        self.lines += self._write("\t".join((*fields, f"{took_s:.6f}", result)))

    def report(self) -> dict[str, Any]:
        """Where it is and how it goes, as plain data."""
        return {"file": str(self.file), "lines": self.lines, "problem": self.problem}

    def close(self) -> None:
        """No more lines; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: str) -> bool:
        """Whether it could be written."""
        if self._fd < 0:
            return False
        try:
            os.write(self._fd, line.encode("utf-8", "replace") + b"\n")
        except OSError as error:
            self.problem = error.strerror
            self.close()
            return False
        return True


class TraceTransport:
    """A `Transport` that does what ``inner`` does, and writes it down."""

    def __init__(self, inner: Transport, trace: TraceFile) -> None:
        self._inner = inner
        self._trace = trace
        self._shown_name = _printable(inner.name)

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def max_transfer_bytes(self) -> int:
        return self._inner.max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        return self._inner.max_in_flight

    @property
    def stranded(self) -> int:
        return self._inner.stranded

    async def execute(self, command: Command) -> Completion:
        began_s = self._trace.clock()
        try:
            completion = await self._inner.execute(command)
        except BaseException as error:
            self._trace.record(self._shown_name, command, began_s, _raised(error))
            raise
        self._trace.record(self._shown_name, command, began_s, _result(command, completion))
        return completion

    async def reset_logical_unit(self) -> None:
        began_s = self._trace.clock()
        try:
            await self._inner.reset_logical_unit()
        except BaseException as error:
            self._trace.record(self._shown_name, RESET, began_s, _raised(error))
            raise
        self._trace.record(self._shown_name, RESET, began_s, "GOOD")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _data(command: Command) -> str:
    if command.data_in is not None and len(command.data_in):
        return f"in {len(command.data_in)}"
    return f"out {len(command.data_out)}" if len(command.data_out) else "-"


def _result(command: Command, completion: Completion) -> str:
    if not completion.is_good:
        return describe(completion)
    left = completion.residual_bytes
    return f"GOOD, {left} bytes not transferred" if left and _data(command) != "-" else "GOOD"


def _raised(error: BaseException) -> str:
    match error:
        case TransportGone():
            return "gone"
        case MpioError():
            return _printable(f"not carried: {error.what}")
        case _:
            return "given up"


def _printable(text: str) -> str:
    """One column on one line."""
    return "".join(character if character.isprintable() else "?" for character in text)
