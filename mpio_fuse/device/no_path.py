"""What requests do while a device has no underpath in service: wait, within bounds.  Pure and synchronous.

Theory of operation
-------------------
An outage begins when the first request finds no underpath, and ends when one is in service again.  The time allowed
runs from the beginning of the *outage*, not of each request: once it is over everything fails at once, as the
administrator was promised, and a program that repeats its requests does not wait anew with each.

All underpaths are asked at once, whatever their intervals say, when an outage begins and before anything fails
(`NoPathStep.CHECK`).  In an outage that lasts longer, requests about to fail have that done again only when the last
time is ``recheck_s`` ago: they must not become a storm of checks.  Nothing fails while such a check is under way.

Waiting requests hold buffers and, behind the file, processes that cannot be killed; so their number is bounded too, and
stopping ends all of it.
"""

import enum


class NoPathStep(enum.Enum):
    """What a request that has no underpath does."""

    CHECK = "ask all underpaths now, say `NoPath.check_ended` whatever came of it, then come back"
    WAIT = "until an underpath is in service, a check has ended, or `NoPath.wait_until_s`; then come back"
    FAIL = "tell the caller"


class NoPath:
    """One device's outages."""

    def __init__(self, timeout_s: float, max_waiting: int, recheck_s: float) -> None:
        """``timeout_s`` may be 0: then nothing waits but for the check."""
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._recheck_s = recheck_s
        self._deadline_s: float | None = None
        self._checked_s: float | None = None
        self._has_checked_at_end = False
        self._is_checking = False
        self.is_stopping = False
        """Set when the daemon stops: from then on nothing waits."""

    @property
    def wait_until_s(self) -> float:
        """Until when a request that was told to wait does so."""
        if self._is_checking or self._deadline_s is None:
            return float("inf")
        return self._deadline_s

    def found(self) -> None:
        """An underpath is in service: the outage, if there was one, is over."""
        self._deadline_s = None
        self._checked_s = None
        self._has_checked_at_end = False

    def check_ended(self) -> None:
        """The check that a step asked for is done, or was cancelled."""
        self._is_checking = False

    def step(self, waiting: int, now_s: float) -> NoPathStep:
        """What a request does now, beside that many others that wait."""
        if self.is_stopping:
            return NoPathStep.FAIL
        if self._deadline_s is None:
            self._deadline_s = now_s + self._timeout_s
        is_over = now_s >= self._deadline_s
        if not self._is_checking and self._is_check_due(now_s, is_over=is_over):
            self._checked_s = now_s
            self._has_checked_at_end = is_over
            self._is_checking = True
            return NoPathStep.CHECK
        if waiting >= self._max_waiting or (is_over and not self._is_checking):
            return NoPathStep.FAIL
        return NoPathStep.WAIT

    def _is_check_due(self, now_s: float, *, is_over: bool) -> bool:
        if self._checked_s is None or (is_over and not self._has_checked_at_end):
            return True
        return is_over and now_s - self._checked_s >= self._recheck_s
