"""Who speaks to the array for this host when one underpath has to: in turn, but not through all that hang."""

from collections.abc import Awaitable, Callable, Iterable

import trio

from mpio_fuse.device.underpath import Underpath


class Speakers:
    """The registered underpaths in turn: the one that reserved first, then those in service.

    When one was silent, the others are checked side by side before the next is tried.  One that is out of service and
    has not given back its commands hangs, and is left out.

    ``registered`` are those when it begins: taking a reservation over leaves one of them alone registered.
    """

    def __init__(
        self,
        registered: Iterable[Underpath],
        reserved: Underpath | None,
        check_doubtful: Callable[[float], Awaitable[None]],
    ) -> None:
        self._waiting = list(registered)
        self._reserved = reserved
        self._check_doubtful = check_doubtful
        self._last: Underpath | None = None
        self._began_s = 0.0

    async def following(self) -> Underpath | None:
        """The next; None when there is no other."""
        if self._last is not None and self._last.transport.stranded:
            await self._check_doubtful(self._began_s)
        able = [one for one in self._waiting if one.is_worth_asking]
        if not able:
            return None
        chosen = min(able, key=lambda one: (one is not self._reserved, not one.is_in_service))
        self._waiting.remove(chosen)
        self._last, self._began_s = chosen, trio.current_time()
        return chosen
