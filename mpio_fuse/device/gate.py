"""The I/O gate: data commands pass it; who changes registrations closes it first.

Theory of operation
-------------------
Taking part in a type 6 reservation is a matter of registrations alone.  So while registrations change (an open,
a transfer of the reservation, the barrier after a lost write) no data command may be sent, and none should be
under way on an underpath about to be registered anew: it could be an old owner's command, let in by the
new registration.

Invariants: a data command is sent only between `Gate.enter` and `Gate.leave`; inside `Gate.closed` nobody passes;
closers exclude each other.  A command that hangs does not hold a closer up for ever: the wait for those under way is
bounded, and those on underpaths that failed under them are not waited for.  Each underpath's own count (``in_flight``,
``stranded``) tells the closer which to leave out.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


class Gate:
    """Lets data commands pass unless somebody has closed it."""

    def __init__(self, hung: Callable[[], int] = lambda: 0) -> None:
        """``hung``: how many of the commands under way are not worth waiting for."""
        self._hung = hung
        self._closing = trio.Lock()
        self._opened: trio.Event | None = None  # while it is closed: for those who wait
        self._passing = 0
        self._emptied: trio.Event | None = None  # while somebody closes it

    def try_enter(self) -> bool:
        """Pass the gate for one command, if it is open; whoever has passed calls `leave` when the command is over."""
        if self._opened is not None:
            return False
        self._passing += 1  # no await since the check above: a closer sees this command
        return True

    async def enter(self) -> None:
        """Pass the gate for one command; waits while it is closed."""
        while self._opened is not None:
            await self._opened.wait()
        self._passing += 1

    def leave(self) -> None:
        """One that has passed is over."""
        self._passing -= 1
        if self._emptied is not None:
            self.look_again()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Pass the gate for one command; waits while it is closed."""
        await self.enter()
        try:
            yield
        finally:
            self.leave()

    def look_again(self) -> None:
        """Something has changed that a closer may wait for."""
        if self._emptied is not None and self._passing <= self._hung():
            self._emptied.set()

    @asynccontextmanager
    async def steady(self) -> AsyncIterator[None]:
        """Keep others from closing the gate, and so from changing registrations; I/O goes on."""
        async with self._closing:
            yield

    @asynccontextmanager
    async def closed(self, drain_timeout_s: float) -> AsyncIterator[bool]:
        """Close the gate; gives whether every command under way has ended within the timeout."""
        async with self._closing:
            self._opened = opened = trio.Event()
            try:
                yield await self._drain(drain_timeout_s)
            finally:
                self._opened = self._emptied = None
                opened.set()

    async def _drain(self, timeout_s: float) -> bool:
        with trio.move_on_after(timeout_s):
            while self._passing > self._hung():
                self._emptied = trio.Event()
                await self._emptied.wait()
        return not self._passing
