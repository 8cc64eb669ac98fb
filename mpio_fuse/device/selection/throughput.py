"""How much data an underpath carries in the time it is busy: what service-time goes by.

Per busy second, not per second: an underpath that had little to do is not slow.  And over all commands together, not
each by itself: of sixteen side by side each takes sixteen times as long, and the underpath is as fast as before.
"""

MEASURED_S = 0.1
"""Busy time after which a new value counts; shorter ones are noise."""

WEIGHT = 0.5
"""Of the new value against the old."""

MEMORY_S = 10.0
"""After so long without a new value the old one says nothing any more."""


class Throughput:
    """One underpath's.  Between `started` and `finished` a command is under way."""

    def __init__(self) -> None:
        self._under_way = 0
        self._busy_since_s = 0.0
        self._busy_s = 0.0
        self._bytes = 0
        self._value: float | None = None
        self._measured_s = float("-inf")

    def bytes_per_s(self, now_s: float) -> float | None:
        """The value, while it is fresh."""
        return self._value if now_s - self._measured_s < MEMORY_S else None

    def started(self, now_s: float) -> None:
        """A command is on its way."""
        if not self._under_way:
            self._busy_since_s = now_s
        self._under_way += 1

    def finished(self, length_bytes: int, now_s: float) -> None:
        """It is back, and has carried that much; 0 for one that failed, whose time counts all the same."""
        self._under_way -= 1
        self._bytes += length_bytes
        self._busy_s += now_s - self._busy_since_s
        self._busy_since_s = now_s
        if self._busy_s >= MEASURED_S:
            self._take(self._bytes / self._busy_s, now_s)

    def _take(self, value: float, now_s: float) -> None:
        known = self.bytes_per_s(now_s)
        self._value = value if known is None else WEIGHT * value + (1 - WEIGHT) * known
        self._measured_s = now_s
        self._busy_s = 0.0
        self._bytes = 0
