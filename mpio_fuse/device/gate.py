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
        self._open = trio.Event()
        self._open.set()
        self._passing = 0
        self._empty = trio.Event()
        self._empty.set()

    def try_enter(self) -> bool:
        """Pass the gate for one command, if it is open; whoever has passed calls `leave` when the command is over."""
        if not self._open.is_set():
            return False
        self._passing += 1  # no await since the check above: a closer sees this command
        return True

    async def enter(self) -> None:
        """Pass the gate for one command; waits while it is closed."""
        while not self.try_enter():
            await self._open.wait()

    def leave(self) -> None:
        """One that has passed is over."""
        self._passing -= 1
        if not self._empty.is_set():  # somebody waits for the end of those under way
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
        if self._passing <= self._hung():
            self._empty.set()

    @asynccontextmanager
    async def steady(self) -> AsyncIterator[None]:
        """Keep others from closing the gate, and so from changing registrations; I/O goes on."""
        async with self._closing:
            yield

    @asynccontextmanager
    async def closed(self, drain_timeout_s: float) -> AsyncIterator[bool]:
        """Close the gate; gives whether every command under way has ended within the timeout."""
        async with self._closing:
            self._open = trio.Event()
            try:
                yield await self._drain(drain_timeout_s)
            finally:
                self._open.set()

    async def _drain(self, timeout_s: float) -> bool:
        with trio.move_on_after(timeout_s):
            while self._passing > self._hung():
                self._empty = trio.Event()
                await self._empty.wait()
        return not self._passing
