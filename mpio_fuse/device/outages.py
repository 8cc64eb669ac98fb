"""Requests that find no underpath wait here, within the bounds that `mpio_fuse.device.no_path` sets.

Nobody may wait here who holds what an underpath's return needs: the I/O gate, or the device's lock on changes.
"""

from collections.abc import Awaitable, Callable

import trio

from mpio_fuse.device.no_path import NoPath, NoPathStep
from mpio_fuse.errors import MpioError

LOOK_AGAIN_S = 1.0
"""Not all that ends an outage rings, and a wait costs nothing."""


class Outages:
    """One device's.  ``check_all`` asks every underpath, and lets those in again that answer; it is bounded."""

    def __init__(self, no_path: NoPath, check_all: Callable[[], Awaitable[None]]) -> None:
        self._no_path = no_path
        self._check_all = check_all
        self._waiting = trio.lowlevel.ParkingLot()

    async def wait(self, error: MpioError) -> None:
        """Return when it is worth looking for an underpath again.

        Raises:
            MpioError: ``error``, when it is not worth waiting any longer.
        """
        no_path = self._no_path
        match no_path.step(len(self._waiting), trio.current_time()):
            case NoPathStep.CHECK:
                try:
                    await self._check_all()
                finally:
                    no_path.check_ended()
                    self.ring()
            case NoPathStep.WAIT:
                until_s = min(no_path.wait_until_s, trio.current_time() + LOOK_AGAIN_S)
                with trio.move_on_at(until_s):
                    await self._waiting.park()
            case NoPathStep.FAIL:
                raise error

    def found(self) -> None:
        """A request found an underpath.  Cheap: called for each."""
        self._no_path.found()

    def ring(self) -> None:
        """Something has changed: let all who wait look again."""
        self._waiting.unpark_all()

    def stop(self) -> None:
        """From now on nobody waits."""
        self._no_path.is_stopping = True
        self.ring()
