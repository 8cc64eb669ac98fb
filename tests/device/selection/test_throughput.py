"""How fast an underpath is while it is busy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.selection.throughput import MEMORY_S, Throughput


def _carry(throughput: Throughput, length_bytes: int, from_s: float, to_s: float) -> None:
    throughput.started(from_s)
    throughput.finished(length_bytes, to_s)


def test_nothing_is_known_at_first_nor_from_too_little() -> None:
    throughput = Throughput()
    assert throughput.bytes_per_s(0) is None
    _carry(throughput, 4096, 0, 0.001)
    assert throughput.bytes_per_s(0.001) is None


def test_bytes_by_busy_time() -> None:
    throughput = Throughput()
    _carry(throughput, 1000, 0, 0.5)
    assert throughput.bytes_per_s(0.5) == pytest.approx(2000)


def test_idle_time_does_not_count() -> None:
    throughput = Throughput()
    _carry(throughput, 60, 0, 0.06)
    _carry(throughput, 40, 5, 5.04)
    assert throughput.bytes_per_s(5.04) == pytest.approx(1000)


@given(st.integers(1, 32))
def test_commands_side_by_side_do_not_make_it_slower(depth: int) -> None:
    """All share one second in which each carries its part."""
    throughput = Throughput()
    for _ in range(depth):
        throughput.started(0)
    for number in range(1, depth + 1):
        throughput.finished(1000, number / depth)
    assert throughput.bytes_per_s(1) == pytest.approx(1000 * depth)


def test_time_counts_once_while_commands_overlap() -> None:
    throughput = Throughput()
    throughput.started(0)
    throughput.started(0.9)
    throughput.finished(1000, 1)
    assert throughput.bytes_per_s(1) == pytest.approx(1000)


def test_a_failed_command_cost_time_and_carried_nothing() -> None:
    throughput = Throughput()
    _carry(throughput, 0, 0, 30)
    assert throughput.bytes_per_s(30) == 0


def test_it_follows_what_changes() -> None:
    throughput = Throughput()
    values = []
    for second in range(6):
        _carry(throughput, 1000 if second < 2 else 100, second, second + 1)
        values.append(throughput.bytes_per_s(second + 1))
    assert values[1] == pytest.approx(1000)
    assert values[2] == pytest.approx(550)
    assert values[5] == pytest.approx(156.25)


def test_what_is_old_says_nothing_any_more() -> None:
    throughput = Throughput()
    _carry(throughput, 1000, 0, 1)
    assert throughput.bytes_per_s(1 + MEMORY_S - 0.1) is not None
    assert throughput.bytes_per_s(1 + MEMORY_S) is None
    _carry(throughput, 50, 20, 21)  # and is not mixed into the new value
    assert throughput.bytes_per_s(21) == pytest.approx(50)
