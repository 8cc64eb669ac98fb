"""Failover and failback between priority groups."""

from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.selection.group_in_use import GroupInUse
from mpio_fuse.device.selection.rules import Failback

BEST, GOOD, POOR = (1,), (3,), (5,)


def test_failover_is_at_once_whatever_the_failback() -> None:
    for failback in (Failback(0), Failback(60), Failback(None)):
        group = GroupInUse(failback)
        assert group.choose({BEST, GOOD, POOR}, 0) == BEST
        assert group.choose({GOOD, POOR}, 0) == GOOD
        assert group.choose({POOR}, 0) == POOR


def test_immediate_failback() -> None:
    group = GroupInUse(Failback(0))
    assert group.choose({GOOD}, 0) == GOOD
    assert group.choose({BEST, GOOD}, 0) == BEST


def test_deferred_failback_waits_that_long_without_a_break() -> None:
    group = GroupInUse(Failback(60))
    group.choose({GOOD}, 0)
    assert group.choose({BEST, GOOD}, 10) == GOOD
    assert group.choose({GOOD}, 40) == GOOD
    assert group.choose({BEST, GOOD}, 50) == GOOD
    assert group.choose({BEST, GOOD}, 109) == GOOD
    assert group.choose({BEST, GOOD}, 110) == BEST


def test_another_better_group_waits_anew() -> None:
    group = GroupInUse(Failback(60))
    group.choose({POOR}, 0)
    assert group.choose({GOOD, POOR}, 10) == POOR
    assert group.choose({BEST, GOOD, POOR}, 60) == POOR
    assert group.choose({BEST, GOOD, POOR}, 119) == POOR
    assert group.choose({BEST, GOOD, POOR}, 120) == BEST


def test_manual_failback_waits_for_an_administrator() -> None:
    group = GroupInUse(Failback(None))
    group.choose({GOOD}, 0)
    assert group.choose({BEST, GOOD}, 1e9) == GOOD
    group.go_back()
    assert group.choose({BEST, GOOD}, 1e9) == BEST
    assert group.choose({GOOD}, 1e9) == GOOD
    assert group.choose({BEST, GOOD}, 1e9) == GOOD  # once


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sets(st.sampled_from([BEST, GOOD, POOR]), min_size=1)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([0.0, 20.0, None]),
)
def test_never_back_too_early_nor_on_a_group_that_is_not_there(
    events: list[tuple[float, set[tuple[int, ...]]]], after_s: float | None
) -> None:
    group = GroupInUse(Failback(after_s))
    now_s, in_use = 0.0, None
    best_since: dict[tuple[int, ...], float] = {}
    for gap_s, present in events:
        now_s += gap_s
        best = min(present)
        best_since = {best: best_since.get(best, now_s)}
        chosen = group.choose(present, now_s)
        assert chosen in present
        if in_use not in present:
            assert chosen == best
        elif chosen != in_use:
            assert chosen == best
            assert after_s is not None
            assert now_s - best_since[best] >= after_s
        in_use = chosen
