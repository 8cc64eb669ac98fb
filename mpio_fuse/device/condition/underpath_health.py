"""The health of one underpath: its state, what it may carry, when it is checked.

Theory of operation
-------------------
Three kinds of evidence come in, each as one call: checks (`check_ended`), real I/O (`io_passed`, `io_failed`,
`io_standby`), and what was done about it (`admitted`, `refused`, `removed`, and the administrator's `fail` and
`reinstate`).  Each call changes all state at once and returns the change people are to be told of, if any.

* *Nothing here brings an underpath into service.*  A check that passes only makes it await admission: whoever can ask
  the array whether the device is still ours registers it and says `admitted`.
* *Real I/O counts.*  TEST UNIT READY may pass while reads and writes fail.  So a failed command takes an underpath down
  whatever the checks say, and a check that fails while data got through does not.
* *Hold-down.*  What comes back after a failure is DELAYED: registered, alive, and carrying data only where no other
  is left, until it has been so for ``hold_down_s``.  Which way it came back makes no difference: through
  GHOST, say.  The debt is paid by time in DELAYED alone.
* *Marginal* (`Flapping`): too many losses of service; UP, and the last resort.
* An *incarnation* is the time from one admission to the next.  What a command of an earlier one tells is old news.

Times are of any clock that never goes back.
"""

from mpio_fuse.device.condition.check import Check
from mpio_fuse.device.condition.check_schedule import CheckSchedule
from mpio_fuse.device.condition.marginal import Flapping
from mpio_fuse.device.condition.rules import HealthRules
from mpio_fuse.device.condition.state import IN_SERVICE, Change, Condition, Service, UnderpathState

NEVER_S = float("inf")


class UnderpathHealth:
    """One underpath's."""

    def __init__(
        self, rules: HealthRules, now_s: float, first_check_s: float | None = None
    ) -> None:
        """``first_check_s``: when to check first; spread them, so that a thousand do not fall together."""
        self._rules = rules
        self._schedule = CheckSchedule(
            rules.check_min_s,
            rules.check_max_s,
            now_s + rules.check_min_s if first_check_s is None else first_check_s,
        )
        self._flapping = Flapping(rules.marginal)
        self.state = UnderpathState.UNCHECKED
        self.incarnation = 0
        self.awaits_admission = False
        """A check has passed: to be registered, if the device is still ours."""
        self.is_held_out = False
        """Taken out of service by an administrator, until they put it back."""
        self._owes_hold_down = False
        self._delayed_until_s = NEVER_S
        self._io_passed_s = -NEVER_S
        self._told = Condition(self.state)

    # -- what it may carry, and when to look

    def service(self, now_s: float) -> Service:
        """How far it is in service now; right also when `advance` is late."""
        if self.state not in IN_SERVICE:
            return Service.NONE
        is_delayed = self.state is UnderpathState.DELAYED and now_s < self._delayed_until_s
        if is_delayed or self._flapping.is_marginal(now_s):
            return Service.LAST_RESORT
        return Service.FULL

    def is_marginal(self, now_s: float) -> bool:
        """Whether it was lost so often that it carries data only at need."""
        return self._flapping.is_marginal(now_s)

    @property
    def next_check_s(self) -> float:
        """When to check next; I/O that passes is a check too, and puts it off."""
        if self.state is UnderpathState.REMOVED or self.is_held_out:
            return NEVER_S
        if self.state in IN_SERVICE:
            return max(self._schedule.next_s, self._io_passed_s + self._schedule.interval_s)
        return self._schedule.next_s

    @property
    def next_event_s(self) -> float:
        """When somebody must check, or call `advance`, next."""
        times_s = [self.next_check_s]
        if self.state is UnderpathState.DELAYED:
            times_s.append(self._delayed_until_s)
        if self._told.is_marginal:
            times_s.append(self._flapping.until_s)
        return min(times_s)

    def advance(self, now_s: float) -> Change | None:
        """What has changed by time alone: the end of the hold-down, of being marginal."""
        if self.state is UnderpathState.DELAYED and now_s >= self._delayed_until_s:
            self.state = UnderpathState.UP
            self._owes_hold_down = False
            return self._change(now_s, "hold-down over")
        return self._change(now_s, "no failure for a while")

    # -- evidence

    def check_ended(
        self, outcome: Check, started_s: float, now_s: float, cause: str = ""
    ) -> Change | None:
        """A check that was sent at ``started_s`` told this; ``cause`` is what it was answered."""
        if self.state is UnderpathState.REMOVED or self.is_held_out:
            return None
        self.awaits_admission = False
        match outcome:
            case Check.PASSED:
                self._check_passed(now_s)
            case Check.STANDBY:
                return self._stand_by(now_s, cause)
            case Check.FAILED if not self._has_io_since(started_s):
                return self._go_down(now_s, cause)
            case Check.FAILED | Check.UNCLEAR:
                self._schedule.found_change(now_s)
        return None

    def _check_passed(self, now_s: float) -> None:
        if self.state in IN_SERVICE:
            self._schedule.found_nothing_new(now_s)
            return
        self.awaits_admission = True
        self._schedule.found_change(now_s)

    def has_passed_io(self, since_s: float) -> bool:
        """Whether a data command was answered since then."""
        return self._io_passed_s >= since_s

    def _has_io_since(self, started_s: float) -> bool:
        return self.state in IN_SERVICE and self.has_passed_io(started_s)

    def io_passed(self, now_s: float) -> None:
        """A data command was answered by the logical unit, in whatever way.  Cheap: called for each."""
        self._io_passed_s = now_s

    def io_failed(self, incarnation: int, now_s: float, cause: str) -> Change | None:
        """A data command failed for the underpath's sake; ``incarnation`` is the one it was sent in."""
        if incarnation != self.incarnation or self.is_held_out:
            return None
        return self._go_down(now_s, cause)

    def io_standby(self, incarnation: int, now_s: float, cause: str) -> Change | None:
        """A data command was told that the port is in standby; as `io_failed`."""
        if incarnation != self.incarnation or self.is_held_out:
            return None
        return self._stand_by(now_s, cause)

    # -- what was done about it

    def admitted(self, now_s: float) -> Change | None:
        """It is registered, and the device is ours."""
        self.awaits_admission = False
        if self.state in {*IN_SERVICE, UnderpathState.REMOVED} or self.is_held_out:
            return None
        self.incarnation += 1
        self._schedule.found_change(now_s)
        if not self._owes_hold_down:
            self.state = UnderpathState.UP
            return self._change(now_s, "registered")
        self.state = UnderpathState.DELAYED
        self._delayed_until_s = now_s + self._rules.hold_down_s
        return self.advance(now_s) or self._change(now_s, "registered, holding down")

    def refused(self, now_s: float, cause: str) -> Change | None:
        """It could not be registered, which does not make it a bad link."""
        self.awaits_admission = False
        if self.state is UnderpathState.REMOVED or self.is_held_out:
            return None
        self._schedule.found_change(now_s)
        self.state = UnderpathState.DOWN
        return self._change(now_s, cause)

    def removed(self, now_s: float, cause: str) -> Change | None:
        """Its node is gone, or leads elsewhere: for good."""
        self.awaits_admission = False
        self.state = UnderpathState.REMOVED
        return self._change(now_s, cause)

    def fail(self, now_s: float, cause: str = "by an administrator") -> Change | None:
        """Out of service, until `reinstate`."""
        self.awaits_admission = False
        if self.state is UnderpathState.REMOVED:
            return None
        self.is_held_out = True
        self.state = UnderpathState.DOWN
        return self._change(now_s, cause)

    def reinstate(self, now_s: float) -> Change | None:
        """To be checked at once and admitted; an administrator's word ends hold-down and being marginal."""
        if self.state is UnderpathState.REMOVED:
            return None
        self.is_held_out = False
        self._owes_hold_down = False
        self._flapping.forgive()
        self._schedule.hurry(now_s)
        if self.state is UnderpathState.DELAYED:
            self.state = UnderpathState.UP
        return self._change(now_s, "reinstated")

    def hurry(self, now_s: float) -> None:
        """Check it at once: nothing else is left."""
        self._schedule.hurry(now_s)

    # -- changes

    def _go_down(self, now_s: float, cause: str) -> Change | None:
        if self.state is UnderpathState.REMOVED:
            return None
        self.awaits_admission = False
        self._schedule.found_change(now_s)
        if self.state in IN_SERVICE:
            self._flapping.failed(now_s)
        # One that never worked has not come back when it works.
        self._owes_hold_down |= self.incarnation > 0
        self.state = UnderpathState.DOWN
        return self._change(now_s, cause)

    def _stand_by(self, now_s: float, cause: str) -> Change | None:
        if self.state is UnderpathState.REMOVED:
            return None
        self.awaits_admission = False
        if self.state is UnderpathState.GHOST:
            self._schedule.found_nothing_new(now_s)
            return None
        self._schedule.found_change(now_s)
        self.state = UnderpathState.GHOST
        return self._change(now_s, cause)

    def _change(self, now_s: float, cause: str) -> Change | None:
        before = self._told
        self._told = Condition(self.state, is_marginal=self._flapping.is_marginal(now_s))
        return Change(before, self._told, cause) if before != self._told else None
