"""Which priority group is in use, and when a better one is gone back to.

A group is known by its preference.  The one in use stays in use as long as it has an underpath; when it has none the
best one left takes over at once.  A better group that appears is gone back to by the configured failback: at once,
after it was there without a break for so long, or when an administrator says so.
"""

from collections.abc import Set as AbstractSet

from mpio_fuse.device.selection.rules import Failback

Preference = tuple[int, ...]
"""Compared as tuples: the smallest is the best."""


class GroupInUse:
    """One device's."""

    def __init__(self, failback: Failback) -> None:
        self._after_s = failback.after_s
        self._in_use: Preference | None = None
        self._better: Preference | None = None
        self._better_since_s = 0.0
        self._go_back = False

    @property
    def in_use(self) -> Preference | None:
        """The group of the last choice."""
        return self._in_use

    def go_back(self) -> None:
        """To the best group, at the next choice, whatever is configured."""
        self._go_back = True

    def choose(self, present: AbstractSet[Preference], now_s: float) -> Preference:
        """The group to use, of those that have an underpath; never empty."""
        best, in_use = min(present), self._in_use
        if in_use is None or in_use not in present:
            return self.use(best)
        if best < in_use and not self._is_time_to_go_back(best, now_s):
            return in_use
        return self.use(best)

    def _is_time_to_go_back(self, best: Preference, now_s: float) -> bool:
        if self._go_back:
            return True
        if self._better != best:
            self._better, self._better_since_s = best, now_s
        return self._after_s is not None and now_s - self._better_since_s >= self._after_s

    def use(self, group: Preference) -> Preference:
        """Use that one from now on."""
        self._in_use = group
        self._better = None
        self._go_back = False
        return group
