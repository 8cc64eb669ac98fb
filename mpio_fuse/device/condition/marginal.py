"""Underpaths that come and go: each single failure is mended, and together they are an outage.

A failure here is one loss of service, whatever the number of commands that failed with it: a cable that is pulled once
under load is not marginal.
"""

from collections import deque

from mpio_fuse.device.condition.rules import MarginalRule


class Flapping:
    """Remembers when an underpath failed, as far as the rule needs it."""

    def __init__(self, rule: MarginalRule | None) -> None:
        self._rule = rule
        self._failed_s: deque[float] = deque(maxlen=rule.failures if rule else 0)
        self.until_s = float("-inf")
        """Marginal until then."""

    def is_marginal(self, now_s: float) -> bool:
        """Whether the underpath is to carry data only where no other is left."""
        return now_s < self.until_s

    def failed(self, now_s: float) -> None:
        """It went out of service.  One that is marginal starts its rest anew."""
        if self._rule is None:
            return
        self._failed_s.append(now_s)
        is_often = (
            len(self._failed_s) == self._rule.failures
            and now_s - self._failed_s[0] <= self._rule.window_s
        )
        if is_often or self.is_marginal(now_s):
            self.until_s = now_s + self._rule.rest_s

    def forgive(self) -> None:
        """Forget what was: somebody says that it is mended."""
        self._failed_s.clear()
        self.until_s = float("-inf")
