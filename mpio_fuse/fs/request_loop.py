"""How the workers that take requests from the kernel wait for them: what stands in for `trio` inside pyfuse3.

Theory of operation
-------------------
pyfuse3 has a number of workers.  Each takes a lock, waits in it until the
kernel has a request, gives the lock back, reads the request, and does it.  With trio's lock and trio's wait every
request costs two task switches, an epoll_ctl(2) and an epoll_wait(2), and on a virtual machine a sleep and a wake-up,
which take longer than all else.  pyfuse3 looks `trio` up as an attribute of its module (its asyncio support
replaces it), so `RequestLoop` takes its place:

* *Polling before sleeping.*  The worker whose turn it is looks at the kernel's descriptor and at those of the
  transports again and again before it sleeps, as long as `mpio_fuse.transport.busy_poll` thinks it worth it.
* *No waiting for a turn.*  A worker that has done its request and finds another waiting takes it at once, whoever's
  turn it is: between finding it and reading it nothing else runs, so nobody else can take it.  After `MAX_IN_A_ROW`
  the others get their turn: neither the transports nor the rest of the event loop may starve.
* *Staying.*  When a request comes while nobody else has anything to do, its worker polls for the answer where it is,
  and then for the next request: at depth 1 the event loop goes round once for `MAX_IN_A_ROW` requests.

Before polling, and after each descriptor that a look has served, all tasks that can run do: what is polled for may
be the answer to what one of them is about to send, and who was woken by an answer has a caller who waits for it.
"""

import select
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import outcome
import trio

from mpio_fuse.transport.busy_poll import BUSY_POLL, BusyPoll

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_IN_A_ROW = 32

PASSES = 2
"""So many passes of trio's loop let every task run that could: one runs what could at its start, in any order."""


class RequestLoop:
    """The part of trio's interface that pyfuse3 uses.  ``lowlevel`` is itself."""

    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)
    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)

    def __init__(self, busy_poll: BusyPoll = BUSY_POLL) -> None:
        self._busy_poll = busy_poll
        self._requests = select.poll()
        self._fd: int | None = None
        self._has_request = False
        self._wants_request = False
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
        elif self._in_a_row < MAX_IN_A_ROW and self._comes_soon():
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

    def _comes_soon(self) -> bool:
        """Whether there is a request, now or before anybody else has something to do."""
        if not self._busy_poll.is_calm:
            return bool(self._requests.poll(0))
        self._has_request, self._wants_request = False, True
        self._busy_poll.stay(self._has_come)
        self._wants_request = False
        return self._has_request

    def _has_come(self) -> bool:
        return self._has_request

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
            began_s = time.monotonic()
            await trio.lowlevel.wait_readable(fd)
            # Not yet ours: until this task runs, others may take what it was woken for.
            self._busy_poll.window.slept(time.monotonic() - began_s)

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
        if not self._wants_request:  # who stays for something else must let another worker take it
            self._busy_poll.disturb()

    async def _poll(self) -> bool:
        """Look for a request, while it is worth it; whether there is one."""
        busy_poll = self._busy_poll
        self._has_request, self._wants_request = False, True
        try:
            busy_poll.disturb()
            passes = PASSES
            while True:
                if not self._has_request and busy_poll.look():
                    passes = PASSES
                if self._has_request:
                    busy_poll.is_hot = True
                    return True
                if self._is_closing:
                    raise trio.ClosedResourceError
                if passes:
                    busy_poll.disturb()
                    await trio.lowlevel.checkpoint()
                    passes -= 1
                elif self._spin():
                    passes = PASSES
                else:
                    return False
        finally:
            self._wants_request = False

    def _spin(self) -> bool:
        """Look until there was something: nobody else has anything to do."""
        self._busy_poll.is_calm = True
        if self._busy_poll.spin():
            self._busy_poll.is_hot = True
            return True
        self._busy_poll.disturb()
        return False
