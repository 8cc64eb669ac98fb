"""A session that is logged in, and the commands in flight on it.

Theory of operation
-------------------
Everything that touches libiscsi goes through `_pump`, synchronously: send what is queued, take in what has come, settle
what has ended.  It is called

- by the *reader*, whenever the socket is readable; or before that by whoever polls before going to sleep
  (`mpio_fuse.transport.busy_poll`);
- by the *writer*, when the socket was full and has room again, and once for all commands that were queued in one turn
  of the event loop, so that they leave together;
- at once, for a command that is alone: it has nobody to wait for;
- by the *keeper* (`mpio_fuse.transport.iscsi.keeper`), which pings, and aborts what takes too long.

A session ends once, for good: when libiscsi or a check says so (`lose`), or when it was closed and nothing is in flight
any more.  At a loss every command in flight ends at once with TRANSPORT_DISRUPTED: its fate is unknown.  Nothing is
ever sent again by itself.

**There is no await between a decision and its effect**: not between giving a command to libiscsi and the entry in the
table, nor between an answer and giving its slot back.

*Pinning.*  libiscsi reads and fills the caller's buffers; the table keeps them until the command is given back, also
when nobody waits for it any more (`stranded`).  After `NativeSession.close` nothing points to them.
"""

from collections.abc import Callable

import attrs
import outcome
import trio

from mpio_fuse.errors import TransportError
from mpio_fuse.scsi.command import GOOD, Command, Completion, HostStatus
from mpio_fuse.transport.busy_poll import BUSY_POLL
from mpio_fuse.transport.contract import OnEnd
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.in_flight import InFlight, settled, waking
from mpio_fuse.transport.iscsi import native
from mpio_fuse.transport.iscsi.native import NativeSession
from mpio_fuse.transport.slots import Slots

DISRUPTED = Completion(host_status=HostStatus.TRANSPORT_DISRUPTED)
FUNCTION_COMPLETE = 0
RESET_TIMEOUT_S = 30.0

_RESET_RESPONSES = {
    2: "the target has no such logical unit",
    5: "the target has no LOGICAL UNIT RESET",
    6: "the target does not allow it",
}
"""RFC 7143 11.6.1."""


class SessionLost(Exception):
    """The session ended before the command was sent."""


@attrs.define
class SessionCommand(InFlight):
    """A command that libiscsi has.  ``due_s``: in trio's time."""

    due_s: float
    is_aborting: bool = False


class Session:
    """The commands of one `NativeSession`.  ``on_loss(was_told, why)`` is called once if it is lost."""

    def __init__(self, session: NativeSession, on_loss: Callable[[bool, str], None]) -> None:
        self.native = session
        self.in_flight: dict[int, SessionCommand] = {}
        self.reset_due_s = 0.0
        self.sent = 0
        """How many commands were ever sent: it changes when the session is in use."""

        self.wake_keeper: Callable[[], None] = lambda: None
        self._on_loss = on_loss
        self._fd = session.fd
        self._slots = Slots(native.DEPTH)
        self._resets = Slots(1)
        self._reset_task: trio.lowlevel.Task | None = None
        self._is_reset_out = False
        self._idle_writer: trio.lowlevel.Task | None = None
        self._is_full = False
        self._is_closing = False
        self._ended = trio.Event()
        self.has_ended = False
        BUSY_POLL.add(self._fd, self._take_in)

    @property
    def is_reset_out(self) -> bool:
        """Whether a reset has no answer yet; ``reset_due_s`` is when it should have."""
        return self._is_reset_out

    @property
    def stranded(self) -> int:
        commands = sum(1 for entry in self.in_flight.values() if entry.on_end is None)
        return commands + (self._is_reset_out and self._reset_task is None)

    async def execute(self, command: Command, phase: DataPhase) -> Completion:
        """Send one command and wait for its end.

        Raises:
            SessionLost: it was not sent.
            OSError: libiscsi did not take it.
        """
        slot = await self._slots.take(self)
        return await settled(self._send(slot, command, phase, waking()))

    def start(self, command: Command, phase: DataPhase, on_end: OnEnd) -> SessionCommand | None:
        """Send one command without waiting; None when there is no room for it.

        Raises:
            SessionLost, OSError: as `execute`.
        """
        slot = self._slots.take_at_once()
        return None if slot is None else self._send(slot, command, phase, on_end)

    async def reset_logical_unit(self) -> None:
        """LOGICAL UNIT RESET, confirmed.

        Raises:
            SessionLost: it was not sent.
            TransportError: it was not confirmed.
        """
        await self._resets.take(self)
        if self._is_refusing or not self.native.reset_logical_unit():
            self._resets.give_back(0)
            raise SessionLost
        self._is_reset_out = True
        self._reset_task = trio.lowlevel.current_task()
        self.reset_due_s = trio.current_time() + RESET_TIMEOUT_S
        self._pump()
        self.wake_keeper()

        def strand(_raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
            self._reset_task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(strand)

    async def run(self) -> None:
        """Serve the session until it has ended; `mpio_fuse.transport.iscsi.keeper` runs beside it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._write)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.lose("it was given up")

    def close(self, error: Callable[[], Exception]) -> None:
        """Take no more commands and end every wait with an error; what is in flight is stranded."""
        self._is_closing = True
        self._refuse_waiting(error)
        for entry in self.in_flight.values():
            entry.end(error())
        if self._reset_task is not None:
            trio.lowlevel.reschedule(self._reset_task, outcome.Error(error()))
            self._reset_task = None
        self._end_if_idle()

    def lose(self, why: str) -> None:
        """The session is no more; everything in flight ends."""
        if self.has_ended:
            return
        was_told = any(entry.on_end is not None for entry in self.in_flight.values())
        self._end()
        self._refuse_waiting(SessionLost)
        self._end_reset(outcome.Error(TransportError(f"LOGICAL UNIT RESET not confirmed: {why}")))
        for entry in self.in_flight.values():
            entry.pinned = None
            entry.end(DISRUPTED)
        self.in_flight.clear()
        self._on_loss(was_told, why)

    def ping(self) -> None:
        """Send a NOP-Out."""
        self.native.ping()
        self._pump()

    def abort(self, slot: int) -> bool:
        """Have the target abort a command; False when it cannot be asked."""
        is_asked = self.native.abort(slot)
        self._pump()
        return is_asked

    @property
    def _is_refusing(self) -> bool:
        return self._is_closing or self.has_ended

    @trio.lowlevel.enable_ki_protection
    def _send(self, slot: int, command: Command, phase: DataPhase, on_end: OnEnd) -> SessionCommand:
        """Queue and record, in one step that nothing can interrupt; a slot that is not used is given back."""
        entry = SessionCommand(on_end, trio.current_time() + command.timeout_s)
        try:
            if self._is_refusing:
                raise SessionLost
            entry.pinned = self.native.submit(slot, command.cdb, phase)
        except BaseException:
            self._slots.give_back(slot)
            raise
        self.in_flight[slot] = entry
        self.sent += 1
        self.wake_keeper()
        if len(self.in_flight) == 1:
            self._pump()
        else:
            self._pump_soon()
        return entry

    def _pump_soon(self) -> None:
        if self._idle_writer is not None:
            BUSY_POLL.disturb()
            trio.lowlevel.reschedule(self._idle_writer)
            self._idle_writer = None

    def _pump(self, *, is_readable: bool = False) -> int:
        if self.has_ended:
            return 0
        left = self.native.pump(is_readable=is_readable)
        for slot in self.native.good():
            self._settle(slot, GOOD)
        for answer in self.native.answers():
            self._settle(answer.slot, answer.completion)
        response = self.native.reset_response() if self._is_reset_out else None
        if response is not None:
            self._end_reset(_reset_outcome(response))
        if left & native.LOST:
            self.lose(self.native.error)
        elif left & native.WANTS_WRITE:
            self._is_full = True
            self._pump_soon()
        self._end_if_idle()
        return left

    def _settle(self, slot: int, completion: Completion) -> None:
        entry = self.in_flight.pop(slot)
        entry.pinned = None
        entry.end(completion)
        self._slots.give_back(slot)

    def _end_reset(self, end: "outcome.Outcome[None]") -> None:
        if not self._is_reset_out:
            return
        self._is_reset_out = False
        if self._reset_task is not None:
            trio.lowlevel.reschedule(self._reset_task, end)
            self._reset_task = None
        self._resets.give_back(0)

    def _refuse_waiting(self, error: Callable[[], Exception]) -> None:
        self._slots.refuse_waiting(self, error)
        self._resets.refuse_waiting(self, error)

    def _end_if_idle(self) -> None:
        """A closed session ends when its last command has."""
        if not self._is_closing or self.in_flight or self._is_reset_out or self.has_ended:
            return
        self._end()

    def _end(self) -> None:
        self.has_ended = True
        self._ended.set()
        BUSY_POLL.remove(self._fd)
        trio.lowlevel.notify_closing(self._fd)
        self.native.close()

    async def _read(self) -> None:
        try:
            while not self.has_ended:
                await BUSY_POLL.wait_readable(self._fd)
                while self._pump(is_readable=True) & native.MORE:
                    await trio.lowlevel.checkpoint()
        except trio.ClosedResourceError:
            return

    def _take_in(self) -> None:
        """Somebody who would sleep otherwise has found the socket readable."""
        if self._pump(is_readable=True) & native.MORE:
            trio.lowlevel.spawn_system_task(self._take_in_the_rest)

    async def _take_in_the_rest(self) -> None:
        """What is read ahead already makes no socket readable."""
        while self._pump(is_readable=True) & native.MORE:
            await trio.lowlevel.checkpoint()

    async def _write(self) -> None:
        try:
            while not self.has_ended:
                self._pump()
                if self._is_full:
                    self._is_full = False
                    await trio.lowlevel.wait_writable(self._fd)
                elif not self.has_ended:
                    await self._park_writer()
        except trio.ClosedResourceError:
            return

    async def _park_writer(self) -> None:
        def unpark(_raise_cancel: "Callable[[], object]") -> trio.lowlevel.Abort:
            self._idle_writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._idle_writer = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(unpark)


def _reset_outcome(response: int) -> "outcome.Outcome[None]":
    if response == FUNCTION_COMPLETE:
        return outcome.Value(None)
    why = _RESET_RESPONSES.get(response, f"the target answered {response:#04x}")
    return outcome.Error(TransportError(f"LOGICAL UNIT RESET not confirmed: {why}"))
