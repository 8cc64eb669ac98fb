"""Commands through libsgutils2's pass-through: each waits in a worker thread, and the threads are bounded.

A blocked SG_IO cannot be cancelled: it sleeps in the kernel until the command ends or the host's error recovery
does.  So a cancelled call is left behind in its thread and keeps its place, and `THREADS` of them are all
that a hung node can take.  Further calls then wait (and can be cancelled) without a thread.

The descriptor is closed by whoever is last: closing it under a thread that is about to use it would send
that thread's command to whatever gets the same number next.
"""

import os
import threading
from collections.abc import Callable

import attrs
import trio

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.data_phase import DataPhase

THREADS = 4
"""Enough for a check, a reservation command and two that hang."""

PassThrough = Callable[[int, bytes, DataPhase, float], Completion]


@attrs.define(eq=False)
class Call:
    """One command on its way; ``abandoned`` once nobody waits for it any more."""

    command: Command
    phase: DataPhase
    abandoned: bool = False


class PassThroughLane:
    """The pass-through of one open node.  ``fd`` is owned from construction on."""

    def __init__(
        self,
        fd: int,
        gone_error: Callable[[], TransportGone],
        run: PassThrough,
    ) -> None:
        self._fd = fd
        self._gone_error = gone_error
        self._run = run
        self._limiter = trio.CapacityLimiter(THREADS)
        self._waits: set[trio.CancelScope] = set()
        # Held for a few assignments at a time, never across a command.
        self._lock = threading.Lock()
        self._running: set[Call] = set()
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
        call = Call(command, phase)
        completion: Completion | None = None
        with trio.CancelScope() as wait:
            self._waits.add(wait)
            try:
                completion = await trio.to_thread.run_sync(
                    self.run_in_thread, call, abandon_on_cancel=True, limiter=self._limiter
                )
            finally:
                self._waits.discard(wait)
                self._abandon(call)
        if completion is None:
            raise self._gone_error()
        return completion

    def end(self) -> None:
        """End every `execute`, take no more, and close the descriptor as soon as no thread uses it."""
        for wait in self._waits:
            wait.cancel()
        with self._lock:
            self._closed, was_closed = True, self._closed
            idle = not self._running and not was_closed
        if idle:
            os.close(self._fd)

    def _abandon(self, call: Call) -> None:
        with self._lock:
            call.abandoned = True

    def run_in_thread(self, call: Call) -> Completion | None:
        """In a worker thread: None when it came too late to be sent."""
        with self._lock:
            if self._closed or call.abandoned:
                return None
            self._running.add(call)
        try:
            return self._run(self._fd, call.command.cdb, call.phase, call.command.timeout_s)
        finally:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        with self._lock:
            self._running.discard(call)
            last = self._closed and not self._running
        if last:
            os.close(self._fd)
