"""One data command under way on one underpath, and what its end means there.

Theory of operation
-------------------
A `Flight` is made inside the gate, by which its underpath has one command more, and *lands* once: by the transport's
answer or refusal, by the end of its time, or because who waited for it was cancelled; whichever comes first.  All that
an end tells of the underpath is noted in the call that lands it: counts, marks, a suspicion, a write that may be lost.
Only then the gate is left and whoever waits is woken.  So nothing is ever sent on an underpath while an answer that
forbids it is known to this process and not yet noted.

* A write whose fate nobody knows (`may_still_run`), or whose caller was cancelled, may still be alive at the array: its
  underpath is marked, unless a barrier has raised the epoch since it was sent.
* An answer that nobody sees may be the one that told of another disk, or of a preemption: who is cancelled leaves a
  suspicion.  A timeout leaves what the table says of it.
* What a completion means is one table's business (`mpio_fuse.device.reaction`).

`Transport.execute` inside `trio.move_on_after` bounds a command, and costs more than the rest of the data path: a
cancel scope is made, entered, put among the deadlines and taken out again.  A transport that can `start` a command
calls back instead, and one watch ends what is overdue: all flights of a device have the same time, so the oldest
is always the next.  Where nobody else has anything to do, who waits stays and polls (`mpio_fuse.transport.busy_poll`).
A command that was given up is abandoned: the transport keeps its buffers and its slot
(`mpio_fuse.transport.contract`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.reaction import Action, Mark, may_still_run, reaction_to
from mpio_fuse.device.underpath import Suspicion, Underpath
from mpio_fuse.errors import TransportError, TransportGone
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.verdict import Verdict, describe, judge
from mpio_fuse.transport.busy_poll import BUSY_POLL

if TYPE_CHECKING:
    from mpio_fuse.transport.contract import Started

TIMED_OUT = Completion(host_status=HostStatus.TIME_OUT)
NOT_SENT = Completion(host_status=HostStatus.NO_CONNECT)


class Flights:
    """Those of one device, none of which takes longer than ``timeout_s``.  ``gate``: each leaves it when it lands."""

    def __init__(self, gate: Gate, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._gate = gate
        self._watched: dict[Flight, None] = {}  # in order: the first is due first
        self._has_watch = False

    def watch(self, flight: "Flight") -> None:
        """End it when its time is over, unless it has landed by then."""
        self._watched[flight] = None
        if not self._has_watch:
            self._has_watch = True
            trio.lowlevel.spawn_system_task(self._end_overdue)

    def landed(self, flight: "Flight") -> None:
        """It is over."""
        self._watched.pop(flight, None)
        self._gate.leave()

    async def _end_overdue(self) -> None:
        """Until there is nothing to watch; the next flight begins anew."""
        try:
            while self._watched:
                flight = next(iter(self._watched))
                due_s = flight.began_s + self.timeout_s
                if due_s > trio.current_time():
                    await trio.sleep_until(due_s)
                else:
                    flight.time_out()
        finally:
            self._has_watch = False


class Flight:
    """One command from its departure to its landing.

    ``completion`` is None until it has landed, and after a cancellation.  ``incarnation`` is the underpath's
    (`UnderpathHealth`) in which it was sent.
    """

    __slots__ = (
        "_epoch",
        "_error",
        "_flights",
        "_grant",
        "_has_landed",
        "_is_write",
        "_length_bytes",
        "_started",
        "_task",
        "began_s",
        "command",
        "completion",
        "incarnation",
        "underpath",
    )

    def __init__(
        self,
        flights: Flights,
        grant: Grant,
        underpath: Underpath,
        command: Command,
        now_s: float,
        *,
        is_write: bool,
    ) -> None:
        """For whoever is inside the gate; `fly` must follow at once, with no await between."""
        self.underpath = underpath
        self.command = command
        self.began_s = now_s
        self.incarnation = underpath.health.incarnation
        self.completion: Completion | None = None
        self._flights = flights
        self._grant = grant
        self._is_write = is_write
        self._length_bytes = length_bytes(command)
        self._epoch = underpath.epoch
        self._has_landed = False
        self._error: Exception | None = None
        self._started: Started | None = None
        self._task: trio.lowlevel.Task | None = None
        underpath.departs(self._length_bytes, now_s)

    @property
    def is_plainly_good(self) -> bool:
        """GOOD, with all the data."""
        return self.completion is not None and self.completion.is_plainly_good

    async def fly(self) -> None:
        """Send it, and return once it has landed, within the time of a flight.

        Raises:
            Exception: what the transport raised that says nothing of the underpath: nobody could send this command.
            trio.Cancelled: it is abandoned then.
        """
        starting = self.underpath.starting
        if starting is not None:
            self._started = starting.start(self.command, self.land)
        if self._started is None:
            await self._execute()
        elif not self._has_landed:
            self._flights.watch(self)
            BUSY_POLL.stay(self._is_over)
            if not self._has_landed:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._leave)
        if self._error is not None:
            raise self._error

    async def _execute(self) -> None:
        how: Completion | Exception = TIMED_OUT
        try:
            with trio.move_on_after(self._flights.timeout_s):
                how = await self.underpath.transport.execute(self.command)
        except Exception as error:  # noqa: BLE001 - as the callback of `start` is told
            how = error
        except BaseException:
            self._give_up()
            raise
        self.land(how)

    def _is_over(self) -> bool:
        return self._has_landed

    def time_out(self) -> None:
        """It took too long."""
        self._abandon()
        self.land(TIMED_OUT)

    def land(self, how: Completion | Exception) -> None:
        """It is over, as the transport says, or the watch."""
        if isinstance(how, Completion):
            self._note(how)
        elif isinstance(how, TransportError):
            if isinstance(how, TransportGone):
                self.underpath.removed(how.what)
            self._note(NOT_SENT)
        else:
            self._error = how
            self._note_unseen()
        self._end()

    def _give_up(self) -> None:
        """Nobody waits for it any more."""
        self._note_unseen()
        self._end()

    def _leave(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._task = None
        self._abandon()
        self._give_up()
        return trio.lowlevel.Abort.SUCCEEDED

    def _abandon(self) -> None:
        if self._started is not None:
            self._started.abandon()

    def _end(self) -> None:
        self._has_landed = True
        self._flights.landed(self)
        if self._task is not None:
            BUSY_POLL.disturb()
            trio.lowlevel.reschedule(self._task)
            self._task = None

    # -- what it means for the underpath

    def _note(self, completion: Completion) -> None:
        self.completion = completion
        now_s = trio.current_time()
        carried_bytes = self._length_bytes if completion.is_good else 0
        self.underpath.returns(self._length_bytes, carried_bytes, now_s)
        if completion.is_plainly_good:
            self.underpath.health.io_passed(now_s)
            self.underpath.counters.count(self.command)
        else:
            self._note_trouble(completion, now_s)

    def _note_unseen(self) -> None:
        """Nobody knows how it ended, or will."""
        self.underpath.returns(self._length_bytes, 0, trio.current_time())
        self.underpath.suspicion = Suspicion(Verdict.UNKNOWN)
        self._note_lost()

    def _note_lost(self) -> None:
        if self._is_write and self.underpath.epoch == self._epoch:
            self.underpath.has_lost_write = True

    def _note_trouble(self, completion: Completion, now_s: float) -> None:
        underpath = self.underpath
        if not completion.is_good and may_still_run(completion):
            self._note_lost()
        reaction = reaction_to(completion)
        if reaction.look.comes_first:
            underpath.suspicion = Suspicion(judge(completion))
        else:
            underpath.want(reaction.look)
        self._grant.lost_writes += reaction.loses_data
        match reaction.mark:
            case Mark.DOWN:
                underpath.failed(self.what(), self.incarnation)
            case Mark.GHOST:
                underpath.stands_by(self.what(), self.incarnation)
            case Mark.NOTHING:
                underpath.health.io_passed(now_s)
        if reaction.action is Action.DONE:
            underpath.counters.count(self.command)

    def what(self) -> str:
        """The command, the underpath, and how it ended, for people."""
        told = "" if self.completion is None else describe(self.completion)
        return f"{self.command.name} on {self.underpath.name}: {told}"


def length_bytes(command: Command) -> int:
    """How much data it carries."""
    return len(command.data_in or command.data_out or b"")
