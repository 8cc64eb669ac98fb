"""When one underpath is checked next: seldom while nothing changes, often when something has."""


class CheckSchedule:
    """The interval doubles from ``min_s`` to ``max_s`` with each check that finds nothing new."""

    def __init__(self, min_s: float, max_s: float, first_s: float) -> None:
        """``first_s``: when the first check is due."""
        self._min_s = min_s
        self._max_s = max_s
        self.interval_s = min_s
        self.next_s = first_s

    def found_nothing_new(self, now_s: float) -> None:
        """A check confirmed what was known."""
        self.interval_s = min(2 * self.interval_s, self._max_s)
        self.next_s = now_s + self.interval_s

    def found_change(self, now_s: float) -> None:
        """Something changed, by a check or by I/O, or is not clear: look closely for a while."""
        self.interval_s = self._min_s
        self.next_s = now_s + self._min_s

    def hurry(self, now_s: float) -> None:
        """Somebody needs to know now."""
        self.interval_s = self._min_s
        self.next_s = now_s
