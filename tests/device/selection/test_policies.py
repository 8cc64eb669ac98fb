"""How the underpaths of one group share the load."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.selection.candidate import Policy, next_in_turn
from mpio_fuse.device.selection.queue_length import QueueLength
from mpio_fuse.device.selection.round_robin import RoundRobin
from mpio_fuse.device.selection.service_time import ServiceTime
from tests.device.selection.candidates import FakeCandidate, some_candidates

ALL: tuple[Callable[[], Policy], ...] = (RoundRobin, QueueLength, ServiceTime)


@pytest.mark.parametrize("policy", ALL)
@given(some_candidates, st.integers(1, 5))
def test_equals_take_turns(
    policy: Callable[[], Policy], group: list[FakeCandidate], rounds: int
) -> None:
    """A load of one command at a time uses all underpaths, whatever the policy."""
    equals = [FakeCandidate(one.index) for one in group]
    chooser = policy()
    chosen = Counter(chooser.choose(equals, 4096, 0).index for _ in range(rounds * len(equals)))
    assert chosen == {one.index: rounds for one in equals}


@pytest.mark.parametrize("policy", ALL)
@given(st.lists(some_candidates, min_size=1, max_size=5), st.integers(0, 1 << 20))
def test_one_of_the_group_is_chosen(
    policy: Callable[[], Policy], groups: list[list[FakeCandidate]], length_bytes: int
) -> None:
    chooser = policy()
    for group in groups:
        assert chooser.choose(group, length_bytes, 0) in group


@given(some_candidates, st.integers(-1, 8))
def test_the_next_in_turn_is_the_one_with_the_next_index(
    group: list[FakeCandidate], last_index: int
) -> None:
    indexes = {one.index for one in group}
    expected = next(
        index for index in (*range(last_index + 1, 9), *range(last_index + 1)) if index in indexes
    )
    assert next_in_turn(group, last_index).index == expected


@given(some_candidates)
def test_the_shortest_queue(group: list[FakeCandidate]) -> None:
    chosen = QueueLength().choose(group, 4096, 0)
    assert chosen.in_flight == min(one.in_flight for one in group)


def test_the_one_that_is_done_first() -> None:
    slow_and_idle = FakeCandidate(0, speed=1e6)
    fast_and_busy = FakeCandidate(1, in_flight_bytes=4 << 20, speed=1e9)
    policy = ServiceTime()
    assert policy.choose([slow_and_idle, fast_and_busy], 1 << 20, 0) is fast_and_busy
    assert policy.choose([slow_and_idle, fast_and_busy], 512, 0) is slow_and_idle


def test_of_equally_fast_ones_that_with_less_to_do() -> None:
    group = [
        FakeCandidate(0, in_flight_bytes=8192, speed=5.0),
        FakeCandidate(1, in_flight_bytes=4096, speed=5.0),
    ]
    assert ServiceTime().choose(group, 512, 0).index == 1


def test_one_that_was_not_measured_lately_is_tried() -> None:
    group = [FakeCandidate(0, speed=1e9), FakeCandidate(1), FakeCandidate(2, speed=1e3)]
    policy = ServiceTime()
    assert {policy.choose(group, 4096, 0).index for _ in range(2)} == {0, 1}


def test_one_that_carried_nothing_is_not_taken_for_unmeasured() -> None:
    group = [FakeCandidate(0, speed=0.0), FakeCandidate(1, speed=1e6)]
    policy = ServiceTime()
    assert {policy.choose(group, 4096, 0).index for _ in range(4)} == {1}


def test_a_flush_goes_where_least_is_waiting() -> None:
    group = [FakeCandidate(0, in_flight_bytes=1 << 20), FakeCandidate(1)]
    policy = ServiceTime()
    assert {policy.choose(group, 0, 0).index for _ in range(4)} == {1}


@given(
    st.lists(st.tuples(st.integers(0, 1 << 20), st.sampled_from([1e6, 2e6, 8e6])), min_size=2,
             max_size=4),
    st.integers(1, 1 << 20),
)  # fmt: skip
def test_nobody_would_be_done_sooner_by_more_than_noise(
    group: list[tuple[int, float]], length_bytes: int
) -> None:
    candidates = [
        FakeCandidate(index, in_flight_bytes=waiting, speed=speed)
        for index, (waiting, speed) in enumerate(group)
    ]
    chosen = ServiceTime().choose(candidates, length_bytes, 0)
    times_s = [(waiting + length_bytes) / speed for waiting, speed in group]
    assert times_s[chosen.index] <= min(times_s) * 1.02
