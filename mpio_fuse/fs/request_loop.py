"""How the workers that take requests from the kernel wait for them: what stands in for `trio` inside pyfuse3.

Theory of operation
-------------------
pyfuse3 has a number of workers.  Each takes a lock, waits in it until the
kernel has a request, gives the lock back, reads the request, and does it.  With trio's lock and trio's wait every
request costs two task switches, an epoll_ctl(2) and an epoll_wait(2), and on a virtual machine a sleep and a wake-up,
which take longer than all else.  pyfuse3 looks `trio` up as an attribute of its module (its asyncio support
replaces it), so `RequestLoop` takes its place:

* *Polling before sleeping.*  The worker whose turn it is looks at the kernel's descriptor and at those of the
  transports (`mpio_fuse.transport.busy_poll`) again and again before it sleeps, for `MAX_WINDOW_S`, when the last
  sleep turned out to have been shorter than that.  When it was in vain, some waits go by without (1, 2, 4 ...).  It
  ends at once when others want this CPU: one of them may be who is to answer, and who sleeps is woken sooner than
  who has used up its share.  Idle, nobody polls.
* *No waiting for a turn.*  A worker that has done its request and finds another waiting takes it at once, whoever's
  turn it is: between finding it and reading it nothing else runs, so nobody else can take it.  After `MAX_IN_A_ROW`
  the others get their turn: neither the transports nor the rest of the event loop may starve.

Before polling, and after each descriptor that a look has served, all tasks that can run do: what is polled for may
be the answer to what one of them is about to send, and who was woken by an answer has a caller who waits for it.
"""

import os
import select
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import outcome
import trio

from mpio_fuse.transport.busy_poll import BUSY_POLL, BusyPoll

MAX_WINDOW_S = 500e-6
MAX_IN_A_ROW = 32

CROWDED_S = 20e-6
"""A sched_yield(2) that takes longer has let somebody else run who waited for this CPU."""

PASSES = 2
"""So many passes of trio's loop let every task run that could: one runs what could at its start, in any order."""

MAX_PAUSE = 1024
"""After polling was in vain so many waits in turn may go by without."""


class Window:
    """For how long polling is worth it: whether what was waited for lately came soon, and the CPU was to be had."""

    def __init__(self) -> None:
        self.length_s = 0.0
        self._pause = 1
        self._left_out = 0

    def open(self) -> float:
        """How long to poll this time."""
        if not self._left_out:
            return self.length_s
        self._left_out -= 1
        return 0.0

    def was_worth_it(self) -> None:
        """Something came while polling."""
        self._pause = 1

    def was_in_vain(self) -> None:
        """Nothing came, or somebody else wanted the CPU, perhaps whoever is to answer."""
        self._left_out = self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE)

    def slept(self, duration_s: float) -> None:
        """Something came after so long a sleep."""
        self.length_s = MAX_WINDOW_S if duration_s < MAX_WINDOW_S else 0.0


class RequestLoop:
    """The part of trio's interface that pyfuse3 uses.  ``lowlevel`` is itself."""

    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)
    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)

    def __init__(
        self, busy_poll: BusyPoll = BUSY_POLL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._busy_poll = busy_poll
        self._clock = clock
        self._window = Window()
        self._requests = select.poll()
        self._fd: int | None = None
        self._has_request = False
        self._is_closing = False
        self._has_turn = False
        self._is_out_of_turn = False
        self._in_a_row = 0
        self._idle: list[trio.lowlevel.Task] = []

    @property
    def lowlevel(self) -> "RequestLoop":
        return self

    def Lock(self) -> "RequestLoop":  # noqa: N802 - trio's name
        """The lock that a worker holds while it waits: the turn."""
        return self

    # -- the turn

    async def __aenter__(self) -> None:
        if not self._has_turn:
            self._has_turn = True
        elif self._in_a_row < MAX_IN_A_ROW and self._requests.poll(0):
            self._in_a_row += 1
            self._is_out_of_turn = True
        else:
            await self._wait_for_turn()

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        if self._is_out_of_turn:
            self._is_out_of_turn = False
        else:
            self._pass_turn()

    async def _wait_for_turn(self) -> None:
        task = trio.lowlevel.current_task()
        self._idle.append(task)

        def leave(_raise_cancel: "Callable[[], Any]") -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _pass_turn(self) -> None:
        """To the worker that was busy last: its memory is in the CPU's caches."""
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop(), outcome.Value(None))
        else:
            self._has_turn = False
            self._busy_poll.cool()

    # -- waiting for a request

    async def wait_readable(self, fd: int) -> None:
        """Return when there is a request; the caller reads it before anything else runs.

        Raises:
            ClosedResourceError: there will be none any more.
        """
        if self._is_out_of_turn:
            return
        if self._fd is None:
            self._watch(fd)
        self._in_a_row = 0
        while not await self._poll():
            self._busy_poll.cool()
            began_s = self._clock()
            await trio.lowlevel.wait_readable(fd)
            # Not yet ours: until this task runs, others may take what it was woken for.
            self._window.slept(self._clock() - began_s)

    def notify_closing(self, fd: int) -> None:
        """End every wait."""
        self._is_closing = True
        self._busy_poll.remove(fd)
        trio.lowlevel.notify_closing(fd)

    def _watch(self, fd: int) -> None:
        self._fd = fd
        self._requests.register(fd, select.POLLIN)
        self._busy_poll.add(fd, self._note_request)

    def _note_request(self) -> None:
        self._has_request = True

    async def _poll(self) -> bool:
        """Look for a request, while it is worth it; whether there is one."""
        self._has_request = False
        passes = PASSES
        while True:
            if self._busy_poll.look():
                passes = PASSES
            if self._has_request:
                self._busy_poll.is_hot = True
                return True
            if self._is_closing:
                raise trio.ClosedResourceError
            if passes:
                await trio.lowlevel.checkpoint()
                passes -= 1
            elif self._spin():
                passes = PASSES
            else:
                return False

    def _spin(self) -> bool:
        """Look until there was something, while the window is open; whether there was."""
        window, clock, look = self._window, self._clock, self._busy_poll.look
        now_s = began_s = clock()
        end_s = began_s + window.open()
        while now_s < end_s:
            if look():
                window.was_worth_it()
                self._busy_poll.is_hot = True
                return True
            os.sched_yield()
            was_s, now_s = now_s, clock()
            if now_s - was_s > CROWDED_S:
                break
        if end_s > began_s:
            window.was_in_vain()
        return False
