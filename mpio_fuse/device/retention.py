"""Why a reservation of ours outlives the last close: an open asked for it, or it was there when we came.

A daemon that starts and finds the reservation under its own key cannot know whether it was retained on purpose or left
by a crash.  It keeps it either way: giving it up could let another host in beside a program that has not
noticed the crash yet.  The next first open decides anew, and `PseudoDevice.release_retained` gives it up by hand.
"""

import attrs


@attrs.frozen
class Retention:
    """``since_s`` is when the retaining open was granted, in Unix time; None: found when this daemon started."""

    since_s: float | None = None

    @property
    def is_from_before(self) -> bool:
        """Whether the reservation was ours already when this daemon started."""
        return self.since_s is None
