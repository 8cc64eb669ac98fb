"""Service before priority group before policy."""

from collections import Counter
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.condition.state import Service
from mpio_fuse.device.selection.access import preference
from mpio_fuse.device.selection.rules import Failback, SelectionRules, SelectorName
from mpio_fuse.device.selection.selection import POLICIES, Selection
from tests.device.selection.candidates import (
    NON_OPTIMIZED,
    OPTIMIZED,
    STANDBY,
    FakeCandidate,
    some_candidates,
)

MANUAL = Failback(None)
A, B = FakeCandidate(0, OPTIMIZED), FakeCandidate(1, OPTIMIZED)
C, D = FakeCandidate(2, NON_OPTIMIZED), FakeCandidate(3, NON_OPTIMIZED)


def _with(one: FakeCandidate, served: Service) -> FakeCandidate:
    return attrs.evolve(one, served=served)


def _counts(
    selection: Selection, candidates: list[FakeCandidate], times: int = 12, now_s: float = 0.0
) -> dict[int, int]:
    chosen = [selection.choose(candidates, 4096, now_s) for _ in range(times)]
    return dict(Counter(one.index for one in chosen if one is not None))


def _outside(closed: set[int]) -> Callable[[FakeCandidate], bool]:
    return lambda one: one.index not in closed


def test_every_selector_has_a_policy() -> None:
    assert set(POLICIES) == set(SelectorName)


def test_the_best_group_carries_all() -> None:
    assert _counts(Selection(SelectionRules()), [A, B, C, D]) == {0: 6, 1: 6}
    assert _counts(Selection(SelectionRules()), [C, D]) == {2: 6, 3: 6}


def test_standby_carries_nothing_even_alone() -> None:
    assert Selection(SelectionRules()).choose([FakeCandidate(0, STANDBY)], 0, 0) is None


def test_a_last_resort_carries_only_what_nobody_else_can() -> None:
    held_down = _with(A, Service.LAST_RESORT)
    selection = Selection(SelectionRules())
    assert _counts(selection, [held_down, C]) == {2: 12}
    assert _counts(selection, [held_down]) == {0: 12}
    assert _counts(selection, [held_down, _with(C, Service.LAST_RESORT)]) == {0: 12}
    assert _counts(selection, [_with(A, Service.NONE)]) == {}


def test_a_group_that_is_only_held_down_is_not_gone_back_to() -> None:
    selection = Selection(SelectionRules(failback=Failback(60)))
    assert _counts(selection, [C]) == {2: 12}
    assert _counts(selection, [_with(A, Service.LAST_RESORT), C], now_s=100) == {2: 12}
    assert _counts(selection, [A, C], now_s=101) == {2: 12}
    assert _counts(selection, [A, C], now_s=161) == {0: 12}


@pytest.mark.parametrize("failback", [Failback(0), Failback(60), MANUAL])
def test_failover_only_uses_one_as_long_as_it_can(failback: Failback) -> None:
    selection = Selection(SelectionRules(SelectorName.FAILOVER_ONLY, failback))
    assert _counts(selection, [A, B, C]) == {0: 12}
    assert _counts(selection, [B, C]) == {1: 12}
    assert _counts(selection, [C]) == {2: 12}


def test_failover_only_goes_back_as_groups_do() -> None:
    at_once = Selection(SelectionRules(SelectorName.FAILOVER_ONLY, Failback(0)))
    by_hand = Selection(SelectionRules(SelectorName.FAILOVER_ONLY, MANUAL))
    for selection in (at_once, by_hand):
        assert _counts(selection, [B]) == {1: 12}
    assert _counts(at_once, [A, B]) == {0: 12}
    assert _counts(by_hand, [A, B]) == {1: 12}
    by_hand.go_back()
    assert _counts(by_hand, [A, B]) == {0: 12}


def test_what_one_request_has_given_up_moves_no_other() -> None:
    """One bad command over the optimized group, and manual failback."""
    selection = Selection(SelectionRules(failback=MANUAL))
    assert selection.choose([A, C], 4096, 0) is A
    assert selection.choose([A, C], 4096, 0, lambda one: one is not A) is C
    assert selection.choose([A, C], 4096, 0) is A


def test_a_last_resort_is_tried_when_the_request_has_given_up_all_others() -> None:
    last = _with(B, Service.LAST_RESORT)
    selection = Selection(SelectionRules())
    assert selection.choose([A, last], 4096, 0, lambda one: one is not A) is last
    assert selection.choose([A, last], 4096, 0, lambda _one: False) is None


selectors = st.sampled_from(SelectorName)
failbacks = st.sampled_from([Failback(0), Failback(20), MANUAL])


@given(
    selectors,
    failbacks,
    st.lists(st.tuples(some_candidates, st.sets(st.integers(0, 7))), min_size=1, max_size=6),
)
def test_whatever_is_there_the_choice_is_sound(
    selector: SelectorName,
    failback: Failback,
    moments: list[tuple[list[FakeCandidate], set[int]]],
) -> None:
    selection = Selection(SelectionRules(selector, failback))
    for now_s, (candidates, closed) in enumerate(moments):
        chosen = selection.choose(candidates, 4096, now_s, _outside(closed))
        able = [
            one
            for one in candidates
            if preference(one.access) is not None
            and one.served is not Service.NONE
            and one.index not in closed
        ]
        if chosen is None:
            assert able == []
            continue
        assert chosen in able
        assert chosen.served is max(one.served for one in able)
        same = [one for one in able if one.served is chosen.served]
        if failback == Failback(0) or chosen.served is Service.LAST_RESORT:
            ranks = [preference(one.access) for one in same]
            assert preference(chosen.access) == min(rank for rank in ranks if rank is not None)


@given(some_candidates, failbacks)
def test_a_choice_without_a_closed_underpath_is_the_choice_of_a_new_request(
    candidates: list[FakeCandidate], failback: Failback
) -> None:
    rules = SelectionRules(failback=failback)
    one, other = Selection(rules), Selection(rules)
    for _ in range(4):
        assert one.choose(candidates, 0, 0) == other.choose(candidates, 0, 0, lambda _one: True)
