"""One command under way without a task or a cancel scope of its own: how a request waits when all goes well.

Theory of operation
-------------------
`Transport.execute` inside `trio.move_on_after` bounds a command, and costs more than the rest of the data path: a
cancel scope is made, entered, put among the deadlines and taken out again.  A transport that can `start` a command
calls back instead, and one *watch* ends what is overdue: all commands have the same timeout, so the oldest is always
the next.

`Flight` ends once, by whichever comes first: the transport's answer, the watch, or the cancellation of who waits.
By the latter two the command is abandoned: the transport keeps its buffers and its slot
(`mpio_fuse.transport.contract`).
"""

from collections.abc import Callable
from typing import Any

import trio

from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.transport.contract import Started, StartingTransport

TIMED_OUT = Completion(host_status=HostStatus.TIME_OUT)


class Flight:
    """One command from its start to its end."""

    __slots__ = ("_end", "_started", "_task")

    def __init__(self) -> None:
        self._end: Completion | Exception | None = None
        self._started: Started | None = None
        self._task: trio.lowlevel.Task | None = None

    def start(self, transport: StartingTransport, command: Command) -> bool:
        """Send it, if that takes no waiting; whether it was sent."""
        self._started = transport.start(command, self.end)
        return self._started is not None

    def end(self, how: Completion | Exception) -> None:
        """The transport says so."""
        self._end = how
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    def time_out(self) -> None:
        """It took too long."""
        self._abandon()
        self.end(TIMED_OUT)

    async def wait(self) -> Completion:
        """How it ended.

        Raises:
            Exception: what the transport ended it with.
            trio.Cancelled: it is abandoned then.
        """
        if self._end is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        if isinstance(self._end, Exception):
            raise self._end
        return self._end or TIMED_OUT  # never neither: it is woken by an end

    def _leave(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._task = None
        self._abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    def _abandon(self) -> None:
        if self._started is not None:
            self._started.abandon()


class Watch:
    """Ends flights that take longer than ``timeout_s``."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[Flight, float] = {}  # in order: the first is due first
        self._is_running = False

    async def bounded(self, flight: Flight) -> Completion:
        """`Flight.wait`, and TIME_OUT when its time is over."""
        if flight.has_ended:
            return await flight.wait()
        self._due_s[flight] = trio.current_time() + self._timeout_s
        if not self._is_running:
            self._is_running = True
            trio.lowlevel.spawn_system_task(self._run)
        try:
            return await flight.wait()
        finally:
            self._due_s.pop(flight, None)

    async def _run(self) -> None:
        """Until there is nothing to watch; the next flight begins anew."""
        try:
            while self._due_s:
                flight, due_s = next(iter(self._due_s.items()))
                if due_s > trio.current_time():
                    await trio.sleep_until(due_s)
                else:
                    del self._due_s[flight]
                    if not flight.has_ended:
                        flight.time_out()
        finally:
            self._is_running = False
