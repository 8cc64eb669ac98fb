"""What waits in worker threads, which are bounded: commands through libsgutils2's pass-through, and resets.

A blocked SG_IO cannot be cancelled: it sleeps in the kernel until the command ends or the host's error recovery
does.  So a cancelled call is left behind in its thread and keeps its place, and `THREADS` of them are all
that a hung node can take, and one more for a reset: when all commands hang is when one wants it.  Further calls
then wait (and can be cancelled) without a thread.

The descriptor is closed by whoever is last: closing it under a thread that is about to use it would send
that thread's command to whatever gets the same number next.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
import trio

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.data_phase import DataPhase

T = TypeVar("T")

THREADS = 4
"""Enough for a check, a reservation command and two that hang."""

PassThrough = Callable[[int, bytes, DataPhase, float], Completion]
Reset = Callable[[int], None]


@attrs.define(eq=False)
class Call(Generic[T]):
    """One thing to do with the descriptor; ``abandoned`` once nobody waits for it any more."""

    work: Callable[[int], T]
    abandoned: bool = False


class TooLate(Exception):
    """A thread began after its call was cancelled, or after the descriptor was closed."""


class PassThroughLane:
    """The pass-through of one open node.  ``fd`` is owned from construction on."""

    def __init__(
        self,
        fd: int,
        gone_error: Callable[[], TransportGone],
        run: PassThrough,
        run_reset: Reset,
    ) -> None:
        self._fd = fd
        self._gone_error = gone_error
        self._run = run
        self._run_reset = run_reset
        self._limiter = trio.CapacityLimiter(THREADS)
        self._reset_limiter = trio.CapacityLimiter(1)
        self._waits: set[trio.CancelScope] = set()
        # Held for a few assignments at a time, never across a command.
        self._lock = threading.Lock()
        self._running: set[Call[Any]] = set()
        self._closed = False

    @property
    def stranded(self) -> int:
        with self._lock:
            return sum(1 for call in self._running if call.abandoned)

    @property
    def running(self) -> int:
        with self._lock:
            return len(self._running)

    async def execute(self, command: Command, phase: DataPhase) -> Completion:
        """Send one command and wait for its end.

        Raises:
            OSError: the driver did not take it.
            TransportGone: the lane refuses commands.
        """

        def work(fd: int) -> Completion:
            return self._run(fd, command.cdb, phase, command.timeout_s)

        return await self._wait_for(Call(work), self._limiter)

    async def reset(self) -> None:
        """Wait for one's turn, reset the logical unit and wait for the end of that.

        Raises:
            OSError: it was not confirmed.
            TransportGone: the lane refuses commands.
        """
        await self._wait_for(Call(self._run_reset), self._reset_limiter)

    def end(self) -> None:
        """End every `execute`, take no more, and close the descriptor as soon as no thread uses it."""
        for wait in self._waits:
            wait.cancel()
        with self._lock:
            self._closed, was_closed = True, self._closed
            idle = not self._running and not was_closed
        if idle:
            os.close(self._fd)

    async def _wait_for(self, call: Call[T], limiter: trio.CapacityLimiter) -> T:
        with trio.CancelScope() as wait:
            self._waits.add(wait)
            try:
                with contextlib.suppress(TooLate):
                    return await trio.to_thread.run_sync(
                        self.run_in_thread, call, abandon_on_cancel=True, limiter=limiter
                    )
            finally:
                self._waits.discard(wait)
                self._abandon(call)
        raise self._gone_error()

    def _abandon(self, call: Call[Any]) -> None:
        with self._lock:
            call.abandoned = True

    def run_in_thread(self, call: Call[T]) -> T:
        """In a worker thread; raises `TooLate` and does nothing when nobody waits for it any more."""
        with self._lock:
            if self._closed or call.abandoned:
                raise TooLate
            self._running.add(call)
        try:
            return call.work(self._fd)
        finally:
            self._finish(call)

    def _finish(self, call: Call[Any]) -> None:
        with self._lock:
            self._running.discard(call)
            last = self._closed and not self._running
        if last:
            os.close(self._fd)
