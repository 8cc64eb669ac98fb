"""One request's way over the underpaths, and that it ends."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpio_fuse.device.attempts import Attempts
from mpio_fuse.device.reaction import TRANSITION_S, Action, reaction_to
from mpio_fuse.errors import MediumError, NoUsableUnderpath
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from tests.device.completions import any_completion, check_condition

PATIENCE_S = 30.0
GONE = Completion(host_status=HostStatus.NO_CONNECT)
BUSY = Completion(status=Status.BUSY)
CONFLICT = Completion(status=Status.RESERVATION_CONFLICT)
FAILING = check_condition("2/08/00")
TRANSITION = check_condition("2/04/0a")


def _open(attempts: Attempts, *underpaths: int, incarnation: int = 1) -> list[int]:
    return [one for one in underpaths if attempts.is_open_to(one, incarnation)]


def test_good_is_done() -> None:
    assert Attempts(0, PATIENCE_S).after(0, 1, Completion(), 0).action is Action.DONE


def test_a_recovered_error_is_done() -> None:
    step = Attempts(0, PATIENCE_S).after(0, 1, check_condition("1/17/01"), 0)
    assert step.action is Action.DONE


def test_a_bad_block_fails_at_once() -> None:
    step = Attempts(0, PATIENCE_S).after(0, 1, check_condition("3/11/00"), 0)
    assert (step.action, step.reaction.error) == (Action.FAIL, MediumError)


def test_a_failed_underpath_is_given_up_and_others_are_not() -> None:
    attempts = Attempts(0, PATIENCE_S)
    step = attempts.after(1, 1, GONE, 0)
    assert (step.action, step.pause_s) == (Action.ELSEWHERE, 0)
    assert _open(attempts, 0, 1, 2) == [0, 2]


def test_when_all_have_failed_the_last_ones_error_is_the_requests() -> None:
    attempts = Attempts(0, PATIENCE_S)
    attempts.after(0, 1, FAILING, 0)
    attempts.after(1, 1, GONE, 0)
    step = attempts.none_left(0)
    assert (step.action, step.reaction.error) == (Action.FAIL, NoUsableUnderpath)


def test_when_nobody_was_asked_there_is_no_usable_underpath() -> None:
    step = Attempts(0, PATIENCE_S).none_left(0)
    assert (step.action, step.reaction.error) == (Action.FAIL, NoUsableUnderpath)


def test_busy_is_waited_for_longer_and_longer_as_long_as_patience_lasts() -> None:
    attempts = Attempts(100, PATIENCE_S)
    pauses_s = [attempts.after(0, 1, BUSY, 100).pause_s for _ in range(9)]
    assert pauses_s == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]
    assert attempts.after(1, 1, BUSY, 100).pause_s == 1.0  # the array is busy, not the underpath
    assert attempts.after(0, 1, BUSY, 129.9).action is Action.AGAIN
    assert attempts.after(0, 1, BUSY, 130).action is Action.ELSEWHERE
    assert _open(attempts, 0, 1) == [1]


def test_unit_attentions_are_met_without_a_pause_and_counted_by_underpath() -> None:
    attempts = Attempts(0, PATIENCE_S)
    attention = check_condition("6/29/00")
    for _ in range(8):
        for underpath in (0, 1):
            step = attempts.after(underpath, 1, attention, 0)
            assert (step.action, step.pause_s) == (Action.AGAIN, 0)
    assert attempts.after(0, 1, attention, 0).action is Action.ELSEWHERE
    assert _open(attempts, 0, 1) == [1]


def test_an_underpath_that_conflicts_again_and_again_is_given_up() -> None:
    attempts = Attempts(0, PATIENCE_S)
    steps = [attempts.after(0, 1, CONFLICT, 0) for _ in range(4)]
    assert [step.action for step in steps] == [Action.AGAIN] * 3 + [Action.ELSEWHERE]
    assert all(step.reaction is reaction_to(CONFLICT) for step in steps)


def test_an_underpath_that_was_admitted_again_is_tried_again_but_not_for_ever() -> None:
    attempts = Attempts(0, PATIENCE_S)
    incarnation = 1
    while attempts.is_open_to(0, incarnation):
        attempts.after(0, incarnation, GONE, 0)
        assert not attempts.is_open_to(0, incarnation)
        incarnation += 1
    assert incarnation - 1 == reaction_to(GONE).max_count


def test_a_disk_that_fails_is_asked_once_over_each_underpath() -> None:
    attempts = Attempts(0, PATIENCE_S)
    attempts.after(0, 1, FAILING, 0)
    assert not attempts.is_open_to(0, 2)


def test_a_transition_is_come_back_to_when_nothing_else_is_left() -> None:
    attempts = Attempts(0, PATIENCE_S)
    assert attempts.after(0, 1, TRANSITION, 0).pause_s == 0  # the other one may serve
    attempts.after(1, 1, GONE, 0)
    step = attempts.none_left(0)
    assert (step.action, step.pause_s) == (Action.AGAIN, 0.1)
    assert _open(attempts, 0, 1) == [0]
    attempts.after(0, 1, TRANSITION, 0.1)
    assert attempts.none_left(0.1).pause_s == 0.2


def test_a_transition_has_a_patience_of_its_own() -> None:
    attempts = Attempts(0, PATIENCE_S)
    attempts.after(0, 1, TRANSITION, PATIENCE_S)
    assert attempts.none_left(TRANSITION_S - 1).action is Action.AGAIN
    attempts.after(0, 1, TRANSITION, TRANSITION_S)
    step = attempts.none_left(TRANSITION_S)
    assert step.action is Action.FAIL
    assert "transition" in step.reaction.hint


@given(
    st.lists(st.tuples(st.integers(0, 2), any_completion), min_size=1, max_size=20),
    st.integers(1, 3),
)
@example([(0, BUSY)], 3)
@example([(0, TRANSITION)], 3)
@example([(0, check_condition("6/29/00")), (1, CONFLICT)], 2)
def test_every_request_ends(answers: list[tuple[int, Completion]], underpaths: int) -> None:
    """Whatever the underpaths answer, over and over, and each as if mended every fifth time."""
    attempts = Attempts(0, PATIENCE_S)
    now_s = 0.0
    for number in range(2000):
        incarnation = number // 5
        open_to = [one for one in range(underpaths) if attempts.is_open_to(one, incarnation)]
        if open_to:
            preferred, completion = answers[number % len(answers)]
            step = attempts.after(open_to[preferred % len(open_to)], incarnation, completion, now_s)
        else:
            step = attempts.none_left(now_s)
        if step.action in {Action.DONE, Action.FAIL}:
            break
        now_s += step.pause_s
    else:
        pytest.fail("went on for ever")
    assert now_s <= max(PATIENCE_S, TRANSITION_S) + 2


@given(st.lists(any_completion, max_size=40))
def test_a_closed_underpath_stays_closed_in_its_incarnation(completions: list[Completion]) -> None:
    attempts = Attempts(0, PATIENCE_S)
    is_closed = False
    for completion in completions:
        step = attempts.after(0, 1, completion, 0)
        is_closed = is_closed or step.action is Action.ELSEWHERE
        assert attempts.is_open_to(0, 1) is not is_closed
