"""When an underpath fails so often that it is the last resort."""

from hypothesis import example, given
from hypothesis import strategies as st

from mpio_fuse.device.condition.marginal import Flapping
from mpio_fuse.device.condition.rules import MarginalRule

RULE = MarginalRule(failures=3, window_s=60, rest_s=100)


def test_so_many_failures_within_the_window() -> None:
    flapping = Flapping(RULE)
    for at_s in (0, 30):
        flapping.failed(at_s)
        assert not flapping.is_marginal(at_s)
    flapping.failed(60)
    assert flapping.is_marginal(60)
    assert flapping.is_marginal(159.9)
    assert not flapping.is_marginal(160)


def test_failures_further_apart_are_not_counted_together() -> None:
    flapping = Flapping(RULE)
    for at_s in (0, 31, 62, 93, 124):
        flapping.failed(at_s)
        assert not flapping.is_marginal(at_s)


def test_each_failure_of_a_marginal_one_prolongs_its_rest() -> None:
    flapping = Flapping(RULE)
    for at_s in (0, 1, 2, 95):
        flapping.failed(at_s)
    assert flapping.is_marginal(194.9)
    assert not flapping.is_marginal(195)


def test_forgiven() -> None:
    flapping = Flapping(RULE)
    for at_s in (0, 1, 2):
        flapping.failed(at_s)
    flapping.forgive()
    assert not flapping.is_marginal(2)
    flapping.failed(3)
    flapping.failed(4)
    assert not flapping.is_marginal(4)


def test_without_a_rule_nothing_is_marginal() -> None:
    flapping = Flapping(None)
    for at_s in range(100):
        flapping.failed(at_s)
    assert not flapping.is_marginal(100)


@given(
    st.lists(st.floats(0, 50), max_size=30),
    st.builds(MarginalRule, st.integers(1, 5), st.floats(1, 100), st.floats(1, 100)),
)
@example([0.0, 0.0], MarginalRule(2, 1.0, 1.0))
def test_as_counted_over_the_whole_history(gaps_s: list[float], rule: MarginalRule) -> None:
    flapping = Flapping(rule)
    history: list[float] = []
    now_s, until_s = 0.0, float("-inf")
    for gap_s in gaps_s:
        now_s += gap_s
        assert flapping.is_marginal(now_s) is (now_s < until_s)
        history.append(now_s)
        flapping.failed(now_s)
        near = [one for one in history if now_s - one <= rule.window_s]
        if len(near) >= rule.failures or now_s < until_s:
            until_s = now_s + rule.rest_s
        assert flapping.is_marginal(now_s) is (now_s < until_s)
