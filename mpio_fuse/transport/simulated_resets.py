"""Resets of a simulated logical unit, one at a time over one transport.

A reset cannot be taken back, so a system task of its own carries it and goes on when its caller is cancelled.  The next
one starts only when the layers below said how it ended, or gave up on it.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from mpio_fuse.errors import TransportError, TransportGone


@attrs.define(eq=False)
class _Reset:
    """One caller's reset.  ``error`` says why it is not confirmed."""

    caller: trio.Event = attrs.Factory(trio.Event)
    error: TransportError | None = None
    is_abandoned: bool = False


class ResetLane:
    """Runs ``carry`` for each reset: it returns when the target confirmed, or raises `TransportError`."""

    def __init__(
        self, carry: Callable[[], Awaitable[None]], gone_error: Callable[[], TransportGone]
    ) -> None:
        self._carry_one = carry
        self._gone_error = gone_error
        self._waiting: deque[_Reset] = deque()
        self._under_way: _Reset | None = None

    @property
    def stranded(self) -> int:
        """1 while the one under way has nobody who waits for it."""
        return int(self._under_way is not None and self._under_way.is_abandoned)

    async def reset(self) -> None:
        """Wait for one's turn, and for the confirmation.

        Raises:
            TransportError: it was not confirmed.
            TransportGone: or the lane has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        reset = _Reset()
        self._waiting.append(reset)
        self._start_next()
        try:
            await reset.caller.wait()
        except trio.Cancelled:
            reset.is_abandoned = True
            if reset in self._waiting:
                self._waiting.remove(reset)
            raise
        if reset.error is not None:
            raise reset.error

    def end(self) -> None:
        """End every `reset`; the one under way goes on and is stranded.  Callers refuse new ones themselves."""
        under_way = [] if self._under_way is None else [self._under_way]
        for reset in (*self._waiting, *under_way):
            if not reset.caller.is_set():
                reset.error = self._gone_error()
                reset.is_abandoned = True
                reset.caller.set()
        self._waiting.clear()

    def _start_next(self) -> None:
        if self._under_way is None and self._waiting:
            self._under_way = self._waiting.popleft()
            trio.lowlevel.spawn_system_task(self._carry, self._under_way)

    async def _carry(self, reset: _Reset) -> None:
        try:
            await self._carry_one()
        except TransportError as error:
            if reset.error is None:
                reset.error = error
        self._under_way = None
        reset.caller.set()
        self._start_next()
