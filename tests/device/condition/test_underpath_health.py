"""One underpath's health: states, hold-down, intervals, and which evidence counts."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mpio_fuse.device.condition.check import Check
from mpio_fuse.device.condition.rules import HealthRules, MarginalRule
from mpio_fuse.device.condition.state import Condition, Service, UnderpathState
from mpio_fuse.device.condition.underpath_health import NEVER_S, UnderpathHealth

UP, DOWN, GHOST = UnderpathState.UP, UnderpathState.DOWN, UnderpathState.GHOST
DELAYED, REMOVED = UnderpathState.DELAYED, UnderpathState.REMOVED
RULES = HealthRules(
    check_min_s=5, check_max_s=20, hold_down_s=10, marginal=MarginalRule(3, 100, 300)
)


def _up(now_s: float = 0.0, rules: HealthRules = RULES) -> UnderpathHealth:
    health = UnderpathHealth(rules, now_s)
    health.admitted(now_s)
    return health


def _recover(health: UnderpathHealth, now_s: float) -> None:
    health.check_ended(Check.PASSED, now_s, now_s)
    assert health.awaits_admission
    health.admitted(now_s)


def test_a_new_underpath_carries_nothing_until_admitted_and_then_at_once() -> None:
    health = UnderpathHealth(RULES, 0)
    assert health.service(0) is Service.NONE
    change = health.admitted(1)
    assert change is not None
    assert (change.before.state, change.after.state) == (UnderpathState.UNCHECKED, UP)
    assert health.service(1) is Service.FULL


def test_a_check_that_passes_brings_nothing_into_service() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    assert health.check_ended(Check.PASSED, 6, 6) is None
    assert health.state is DOWN
    assert health.awaits_admission
    assert health.service(6) is Service.NONE


def test_one_failed_command_takes_it_down_and_is_told_once() -> None:
    health = _up()
    change = health.io_failed(1, 1, "host status 0x0e")
    assert change is not None
    assert change.after == Condition(DOWN)
    assert change.cause == "host status 0x0e"
    assert health.io_failed(1, 1, "host status 0x0e") is None


def test_a_failure_after_a_check_that_passed_is_the_later_word() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    health.check_ended(Check.PASSED, 2, 2)
    health.io_failed(1, 3, "gone")
    assert not health.awaits_admission
    health.check_ended(Check.PASSED, 4, 4)
    health.io_standby(1, 5, "standby")
    assert not health.awaits_admission


def test_a_command_of_an_earlier_incarnation_is_old_news() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    _recover(health, 6)
    assert health.io_failed(1, 31, "timed out") is None
    assert health.io_standby(1, 31, "standby") is None
    assert health.state is DELAYED
    assert health.io_failed(2, 31, "timed out") is not None


def test_after_a_failure_it_is_the_last_resort_until_the_hold_down_is_over() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    _recover(health, 6)
    assert health.state is DELAYED
    assert health.service(15.9) is Service.LAST_RESORT
    assert health.advance(15.9) is None
    assert health.next_event_s <= 16
    assert health.service(16) is Service.FULL
    change = health.advance(16)
    assert change is not None
    assert (change.before.state, change.after.state) == (DELAYED, UP)


def test_the_hold_down_starts_anew_with_each_failure() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    _recover(health, 6)
    health.io_failed(2, 8, "gone")
    _recover(health, 13)
    assert health.service(22.9) is Service.LAST_RESORT
    assert health.service(23) is Service.FULL


def test_the_hold_down_cannot_be_gone_round_through_standby() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    health.check_ended(Check.STANDBY, 2, 2)
    _recover(health, 6)
    assert health.state is DELAYED


def test_a_hold_down_is_paid_once() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    _recover(health, 6)
    health.advance(16)
    health.io_standby(2, 20, "standby")
    _recover(health, 25)
    assert health.state is UP


def test_somebody_is_woken_for_the_ends_though_checks_are_rare() -> None:
    health = _up(rules=HealthRules(1000, 1000, 10, MarginalRule(1, 100, 300)))
    health.io_failed(1, 1, "gone")
    health.admitted(6)
    assert health.next_event_s == 16
    health.advance(16)
    assert health.next_event_s == 301
    health.advance(301)
    assert health.next_event_s == 1006


def test_without_a_hold_down_it_is_up_at_once() -> None:
    health = _up(rules=HealthRules(hold_down_s=0))
    health.io_failed(1, 1, "gone")
    _recover(health, 6)
    assert health.state is UP


def test_a_standby_port_owes_no_hold_down() -> None:
    health = _up()
    change = health.io_standby(1, 1, "standby")
    assert change is not None
    assert change.after.state is GHOST
    assert health.service(1) is Service.NONE
    _recover(health, 6)
    assert health.state is UP


def test_one_that_never_worked_owes_no_hold_down() -> None:
    health = UnderpathHealth(RULES, 0)
    health.check_ended(Check.FAILED, 1, 1, "no answer")
    assert health.state is DOWN
    _recover(health, 6)
    assert health.state is UP


def test_registering_what_is_in_service_changes_nothing() -> None:
    health = _up()
    assert health.admitted(5) is None
    assert health.incarnation == 1


def test_a_refused_registration_is_down_and_tried_again() -> None:
    health = _up()
    health.check_ended(Check.PASSED, 1, 1)
    change = health.refused(2, "RESERVATION CONFLICT")
    assert change is not None
    assert change.after.state is DOWN
    assert health.next_check_s == 7
    assert not health.awaits_admission


# -- checks


def test_the_interval_doubles_while_nothing_changes_and_starts_over_when_something_does() -> None:
    health = _up()
    now_s, gaps_s = _checked(health, 0, times=5)
    assert gaps_s == [5, 10, 20, 20, 20]
    health.io_failed(1, now_s, "gone")
    assert health.next_check_s == now_s + 5
    health.admitted(now_s)
    assert _checked(health, now_s, times=3)[1] == [5, 10, 20]


def _checked(health: UnderpathHealth, now_s: float, times: int) -> tuple[float, list[float]]:
    """Checks that pass, each as soon as it is due: when the last was, and the time before each."""
    gaps_s = []
    for _ in range(times):
        gaps_s.append(health.next_check_s - now_s)
        now_s = health.next_check_s
        health.check_ended(Check.PASSED, now_s, now_s)
    return now_s, gaps_s


def test_what_is_down_is_checked_often() -> None:
    health = _up()
    for now_s in (10, 20, 30):
        health.check_ended(Check.FAILED, now_s, now_s, "no answer")
        assert health.next_check_s == now_s + 5


def test_a_ghost_is_checked_seldom() -> None:
    health = _up()
    for now_s, gap_s in ((10, 5), (20, 10), (40, 20), (80, 20)):
        health.check_ended(Check.STANDBY, now_s, now_s)
        assert health.next_check_s == now_s + gap_s


def test_io_that_passes_puts_checks_off() -> None:
    health = _up()
    health.io_passed(4)
    assert health.next_check_s == 9
    health.io_failed(1, 4, "gone")
    assert health.next_check_s == 9
    health.io_passed(8)  # a straggler: what is down is checked all the same
    assert health.next_check_s == 9


def test_a_failed_check_takes_it_down_unless_data_got_through_meanwhile() -> None:
    health = _up()
    health.io_passed(5.5)
    assert health.check_ended(Check.FAILED, 5, 6, "timed out") is None
    assert health.state is UP
    assert health.next_check_s == 11
    assert health.check_ended(Check.FAILED, 6, 7, "timed out") is not None
    assert health.state is DOWN


def test_an_unclear_check_changes_nothing() -> None:
    health = _up()
    assert health.check_ended(Check.UNCLEAR, 1, 1) is None
    assert health.state is UP
    health.io_failed(1, 1, "gone")
    health.check_ended(Check.PASSED, 2, 2)
    health.check_ended(Check.UNCLEAR, 3, 3)
    assert not health.awaits_admission


def test_hurry() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    health.hurry(2)
    assert health.next_check_s == 2


def test_the_first_check_can_be_spread() -> None:
    assert UnderpathHealth(RULES, 100, first_check_s=103.5).next_check_s == 103.5
    assert UnderpathHealth(RULES, 100).next_check_s == 105


def test_up_by_check_and_failing_by_io_becomes_marginal() -> None:
    """TEST UNIT READY passes every time, and every time data fails."""
    health = _up()
    now_s = 0.0
    for _ in range(3):
        health.io_failed(health.incarnation, now_s, "timed out")
        _recover(health, now_s + 5)
        health.advance(now_s + 15)
        now_s += 20
    assert health.state is UP
    assert health.service(now_s) is Service.LAST_RESORT
    assert health.next_event_s <= 340
    assert health.service(339.9) is Service.LAST_RESORT
    assert health.service(340) is Service.FULL
    change = health.advance(340)
    assert change is not None
    assert (change.before, change.after) == (Condition(UP, is_marginal=True), Condition(UP))


# -- by hand


def test_what_an_administrator_failed_stays_out_until_they_reinstate_it() -> None:
    health = _up()
    change = health.fail(1)
    assert change is not None
    assert change.cause == "by an administrator"
    assert health.next_check_s == NEVER_S
    assert health.check_ended(Check.PASSED, 2, 2) is None
    assert not health.awaits_admission
    assert health.admitted(3) is None
    assert health.refused(3, "x") is None
    assert health.check_ended(Check.STANDBY, 3, 3) is None
    assert health.state is DOWN
    health.reinstate(4)
    assert health.next_check_s == 4
    _recover(health, 4)
    assert health.service(4) is Service.FULL


def test_reinstating_ends_hold_down_and_being_marginal() -> None:
    health = _up()
    for now_s in (1, 2, 3):
        health.io_failed(health.incarnation, now_s, "gone")
        _recover(health, now_s + 0.5)
    assert health.service(4) is Service.LAST_RESORT
    change = health.reinstate(4)
    assert change is not None
    assert change.after == Condition(UP)
    assert health.service(4) is Service.FULL


def test_reinstating_what_failed_by_itself_spares_it_the_hold_down() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    health.reinstate(2)
    _recover(health, 2)
    assert health.service(2) is Service.FULL


def test_removed_is_for_good() -> None:
    health = _up()
    health.io_failed(1, 1, "gone")
    health.check_ended(Check.PASSED, 1, 1)
    assert health.awaits_admission
    assert health.removed(1, "another disk") is not None
    assert not health.awaits_admission
    for late in (
        health.check_ended(Check.PASSED, 2, 2),
        health.io_failed(1, 2, "x"),
        health.io_standby(1, 2, "x"),
        health.admitted(2),
        health.refused(2, "x"),
        health.fail(2),
        health.reinstate(2),
        health.advance(2),
    ):
        assert late is None
    assert health.state is REMOVED
    assert health.next_event_s == NEVER_S


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order; the model keeps only what the rules promise."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.health = UnderpathHealth(RULES, self.now_s)
        self.told = Condition(self.health.state)
        self.failed_s: float | None = None
        """When a failure was last seen that a hold-down is owed for."""
        self.back_s: float | None = None
        self.lost_service_s: list[float] = []
        self.was_removed = False

    def _note(self, change: object) -> None:
        after = Condition(self.health.state, is_marginal=self._is_marginal())
        if change is None:
            assert self.told == after
        else:
            assert (change.before, change.after) == (self.told, after)  # type: ignore[attr-defined]
            assert self.told != after
            assert change.cause  # type: ignore[attr-defined]
        self.told = after

    def _is_marginal(self) -> bool:
        """By the rule's words, over the whole history."""
        until_s = float("-inf")
        for number, at_s in enumerate(self.lost_service_s):
            near = [one for one in self.lost_service_s[: number + 1] if at_s - one <= 100]
            if len(near) >= 3 or at_s < until_s:
                until_s = at_s + 300
        return self.now_s < until_s

    def _before_failure(self) -> None:
        health = self.health
        if health.state in {UP, DELAYED}:
            self.lost_service_s.append(self.now_s)
        if health.incarnation and health.state is not REMOVED:
            self.failed_s = self.now_s

    @rule(seconds=st.sampled_from([0.0, 0.5, 4, 5, 9.5, 10, 50, 101, 299, 301]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self._note(self.health.advance(self.now_s))

    @rule()
    def check_passes(self) -> None:
        self._note(self.health.check_ended(Check.PASSED, self.now_s, self.now_s))

    @rule()
    def standby(self) -> None:
        self._note(self.health.check_ended(Check.STANDBY, self.now_s, self.now_s, "standby"))

    @rule()
    def check_fails(self) -> None:
        if not self.health.is_held_out:
            self._before_failure()
        started_s = self.now_s + 0.001  # no I/O passed since
        self._note(self.health.check_ended(Check.FAILED, started_s, self.now_s, "no answer"))

    @rule()
    def io_passes(self) -> None:
        self.health.io_passed(self.now_s)

    @rule()
    def io_fails(self) -> None:
        if not self.health.is_held_out:
            self._before_failure()
        self._note(self.health.io_failed(self.health.incarnation, self.now_s, "gone"))

    @rule()
    def admitted(self) -> None:
        was_out = self.health.state not in {UP, DELAYED}
        change = self.health.admitted(self.now_s)
        if was_out and self.health.state in {UP, DELAYED}:
            self.back_s = self.now_s
        self._note(change)

    @rule()
    def failed_by_hand(self) -> None:
        self._note(self.health.fail(self.now_s))

    @rule()
    def reinstated(self) -> None:
        if self.health.state is not REMOVED:
            self.failed_s = None
            self.lost_service_s.clear()
        self._note(self.health.reinstate(self.now_s))

    @rule(is_really=st.integers(0, 20))
    def removed(self, is_really: int) -> None:
        if not is_really:
            self.was_removed = True
            self._note(self.health.removed(self.now_s, "another disk"))

    @invariant()
    def service_is_by_state(self) -> None:
        service = self.health.service(self.now_s)
        assert (service is Service.NONE) is (self.health.state not in {UP, DELAYED})

    @invariant()
    def no_full_service_within_the_hold_down(self) -> None:
        if self.failed_s is None or self.back_s is None or self.back_s < self.failed_s:
            return
        if self.now_s < self.back_s + RULES.hold_down_s:
            assert self.health.service(self.now_s) is not Service.FULL

    @invariant()
    def nothing_held_out_is_in_service_or_awaits_admission(self) -> None:
        if self.health.is_held_out or self.was_removed:
            assert self.health.service(self.now_s) is Service.NONE
            assert not self.health.awaits_admission

    @invariant()
    def removed_stays_removed(self) -> None:
        assert (self.health.state is REMOVED) is self.was_removed

    @invariant()
    def the_next_check_is_never_later_than_the_longest_interval(self) -> None:
        if not (self.health.is_held_out or self.was_removed):
            assert self.health.next_check_s <= self.now_s + RULES.check_max_s

    @invariant()
    def somebody_is_woken_for_every_change_by_time(self) -> None:
        health = self.health
        if health.state is DELAYED or self.told.is_marginal:
            assert health.next_event_s < NEVER_S
            assert health.next_event_s > self.now_s or health.next_check_s <= self.now_s


AnyHistory.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
test_any_history = AnyHistory.TestCase


@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_a_cable_pulled_under_load_is_one_failure(rounds: int) -> None:
    """However many commands fail with it."""
    health = _up()
    for _ in range(rounds):
        health.io_failed(1, 1, "gone")
        health.check_ended(Check.FAILED, 1, 1, "gone")
    _recover(health, 6)
    health.advance(16)
    assert health.service(16) is Service.FULL
