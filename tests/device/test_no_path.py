"""Requests while no underpath is in service: they wait, within bounds, and are checked for before they fail."""

from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.no_path import NoPath, NoPathStep

CHECK, WAIT, FAIL = NoPathStep.CHECK, NoPathStep.WAIT, NoPathStep.FAIL


def _after_first_check(timeout_s: float = 60, max_waiting: int = 4, now_s: float = 0) -> NoPath:
    no_path = NoPath(timeout_s, max_waiting, recheck_s=5)
    assert no_path.step(0, now_s) is CHECK
    no_path.check_ended()
    return no_path


def test_all_are_checked_when_it_begins_and_then_it_is_waited() -> None:
    no_path = _after_first_check(now_s=100)
    assert no_path.step(0, 101) is WAIT
    assert no_path.wait_until_s == 160


def test_the_time_runs_from_the_beginning_of_the_outage() -> None:
    no_path = _after_first_check()
    assert no_path.step(0, 59.9) is WAIT
    assert no_path.step(0, 60) is CHECK
    no_path.check_ended()
    assert no_path.step(0, 60) is FAIL
    assert no_path.step(0, 61) is FAIL


def test_all_are_checked_at_the_end_however_lately_they_were() -> None:
    no_path = _after_first_check(timeout_s=3)
    assert no_path.step(0, 2.9) is WAIT
    assert no_path.step(0, 3) is CHECK
    no_path.check_ended()
    assert no_path.step(0, 3) is FAIL


def test_a_new_outage_has_its_own_time() -> None:
    no_path = _after_first_check()
    no_path.found()
    assert no_path.step(0, 50) is CHECK
    no_path.check_ended()
    assert no_path.step(0, 109) is WAIT
    assert no_path.wait_until_s == 110


def test_without_time_it_fails_after_one_check() -> None:
    no_path = _after_first_check(timeout_s=0)
    assert no_path.step(0, 0) is FAIL


def test_nothing_fails_and_nothing_is_asked_twice_while_a_check_is_under_way() -> None:
    no_path = NoPath(0, 4, recheck_s=5)
    assert no_path.step(0, 0) is CHECK
    assert no_path.step(0, 9) is WAIT
    assert no_path.wait_until_s == float("inf")
    no_path.check_ended()
    assert no_path.step(0, 10) is CHECK


def test_requests_that_come_later_are_no_storm_of_checks() -> None:
    no_path = _after_first_check(timeout_s=0)
    steps = []
    for tenth in range(1, 101):
        steps.append(no_path.step(0, tenth / 10))
        no_path.check_ended()
    assert steps.count(CHECK) == 2
    assert steps.count(FAIL) == 98


def test_so_many_wait_and_no_more() -> None:
    no_path = _after_first_check(max_waiting=4)
    assert no_path.step(3, 1) is WAIT
    assert no_path.step(4, 1) is FAIL


def test_so_many_wait_for_a_check_and_no_more() -> None:
    no_path = NoPath(60, 4, recheck_s=5)
    assert no_path.step(4, 0) is CHECK
    assert no_path.step(4, 0) is FAIL


def test_stopping_ends_it() -> None:
    no_path = _after_first_check()
    no_path.is_stopping = True
    assert no_path.step(0, 1) is FAIL


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 6), st.booleans(), st.booleans()), max_size=60
    ),
    st.sampled_from([0.0, 20.0, 60.0]),
)
def test_nothing_waits_beyond_the_time_but_for_a_check(
    events: list[tuple[float, int, bool, bool]], timeout_s: float
) -> None:
    no_path = NoPath(timeout_s, max_waiting=4, recheck_s=5)
    now_s, began_s, checked_s = 0.0, None, None
    is_checking = False
    for gap_s, waiting, is_found, ends_check in events:
        now_s += gap_s
        if is_checking and ends_check:
            no_path.check_ended()
            is_checking = False
        if is_found:
            no_path.found()
            began_s = checked_s = None
        began_s = now_s if began_s is None else began_s
        step = no_path.step(waiting, now_s)
        is_over = now_s >= began_s + timeout_s
        if step is CHECK:
            assert not is_checking
            is_checking, checked_s = True, now_s
        elif step is WAIT:
            assert is_checking or not is_over
            assert waiting < 4
        else:
            assert waiting >= 4 or is_over
            assert is_checking or checked_s is not None
