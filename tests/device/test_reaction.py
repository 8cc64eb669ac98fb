"""What is done about each kind of completion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.reaction import (
    CASES,
    Action,
    BackOff,
    Look,
    Mark,
    Reaction,
    case_of,
    may_still_run,
    reaction_to,
)
from mpio_fuse.errors import (
    MediumError,
    MpioError,
    NoSpace,
    NotSupported,
    NoUsableUnderpath,
    WriteProtected,
)
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.verdict import Verdict, judge
from tests.device.completions import COMPLETIONS, check_condition

CONFLICT = Completion(status=Status.RESERVATION_CONFLICT)
TIMEOUT = Completion(host_status=HostStatus.TIME_OUT)


@pytest.mark.parametrize(
    ("completion", "action", "max_count", "pauses"),
    [
        (Completion(), Action.DONE, 1, False),
        (check_condition("1/17/01"), Action.DONE, 1, False),
        (Completion(residual_bytes=1), Action.ELSEWHERE, 1, False),
        (Completion(status=Status.BUSY), Action.AGAIN, None, True),
        (Completion(status=Status.TASK_SET_FULL), Action.AGAIN, None, True),
        (Completion(status=Status.ACA_ACTIVE), Action.AGAIN, 6, True),
        (Completion(host_status=HostStatus.IMM_RETRY), Action.AGAIN, 8, False),
        (Completion(host_status=HostStatus.REQUEUE), Action.AGAIN, 6, True),
        (check_condition("2/04/01"), Action.AGAIN, None, True),
        (check_condition("6/2a/01"), Action.AGAIN, 8, False),
        (check_condition("b/4b/03"), Action.AGAIN, 3, False),
        (check_condition("2/04/0a"), Action.ELSEWHERE, None, True),
        (check_condition("2/04/0b"), Action.ELSEWHERE, 6, False),
        (TIMEOUT, Action.ELSEWHERE, 6, False),
        (check_condition("5/25/00"), Action.ELSEWHERE, 6, False),
        (check_condition("2/08/00"), Action.ELSEWHERE, 1, False),
        (Completion(status=0x77), Action.ELSEWHERE, 1, False),
        (CONFLICT, Action.AGAIN, 3, False),
        (check_condition("6/2a/03"), Action.AGAIN, 8, False),
        (Completion(status=Status.TASK_ABORTED), Action.AGAIN, 6, True),
        (check_condition("3/0c/00", is_deferred=True), Action.AGAIN, 8, False),
        (check_condition("3/11/00"), Action.FAIL, 1, False),
    ],
)
def test_what_comes_next(
    completion: Completion, action: Action, max_count: int | None, *, pauses: bool
) -> None:
    reaction = reaction_to(completion)
    assert reaction.action is action
    assert reaction.max_count == max_count
    assert (reaction.back_off is not None) is pauses


LOOKS = {
    Look.RESERVATION: ("6/2a/00", "6/2a/03", "6/2a/04", "6/2a/05", "6/2f/00", "0/00/00"),
    Look.IDENTITY: ("6/28/00", "6/29/00", "6/29/03", "6/29/07", "6/3f/03", "6/3f/0e"),
    Look.CAPACITY: ("6/2a/09",),
    Look.PORT_GROUPS: ("6/2a/06", "6/2a/07", "2/04/0a", "2/04/0b", "2/04/0c"),
    Look.NOTHING: ("6/2a/01", "6/38/07", "2/04/01", "3/11/00", "7/27/00", "5/20/00"),
}


@pytest.mark.parametrize(
    ("look", "codes"), [(look, one) for look, codes in LOOKS.items() for one in codes]
)
def test_what_must_be_found_out(look: Look, codes: str) -> None:
    assert reaction_to(check_condition(codes)).look is look


def test_what_may_be_the_only_notice_of_a_preemption_is_looked_into_first() -> None:
    notices = [CONFLICT, Completion(status=Status.TASK_ABORTED), Completion(status=0x77)]
    notices += [check_condition(f"6/2a/{ascq}") for ascq in ("03", "05")]
    notices.append(Completion(status=Status.CHECK_CONDITION))  # sense lost
    for notice in notices:
        assert reaction_to(notice).look is Look.RESERVATION
    assert {look for look in Look if look.comes_first} == {Look.RESERVATION, Look.IDENTITY}


def test_only_what_blames_the_underpath_takes_it_down() -> None:
    """A conflict, a bad block, a busy or failing disk would fail all underpaths, one after the other."""
    for completion in COMPLETIONS:
        is_blamed = judge(completion).blames_underpath
        assert (reaction_to(completion).mark is Mark.DOWN) is is_blamed


def test_only_a_port_that_says_so_stands_by() -> None:
    for completion in COMPLETIONS:
        is_standby = completion in (check_condition("2/04/0b"), check_condition("2/04/0c"))
        assert (reaction_to(completion).mark is Mark.GHOST) is is_standby


def test_only_a_deferred_error_loses_data() -> None:
    for completion in COMPLETIONS:
        loses = judge(completion) is Verdict.DEFERRED_ERROR
        assert reaction_to(completion).loses_data is loses


@pytest.mark.parametrize(
    ("completion", "error"),
    [
        (check_condition("3/11/00"), MediumError),
        (check_condition("7/27/00"), WriteProtected),
        (check_condition("7/27/07"), NoSpace),
        (check_condition("5/20/00"), NotSupported),
        (check_condition("5/21/00"), MpioError),
        (check_condition("2/08/00"), MpioError),
        (TIMEOUT, NoUsableUnderpath),
        (check_condition("2/04/0c"), NoUsableUnderpath),
    ],
)
def test_what_the_caller_is_told(completion: Completion, error: type[MpioError]) -> None:
    reaction = reaction_to(completion)
    assert reaction.error is error
    assert reaction.hint


def test_every_verdict_ends_in_a_case_without_conditions() -> None:
    for verdict in Verdict:
        last = [case for case in CASES if case.verdict is verdict][-1]
        assert (last.host_status, last.status, last.codes, last.is_short) == (None,) * 4


def test_every_case_decides_something() -> None:
    """None is hidden behind an earlier one."""
    assert {case_of(completion) for completion in COMPLETIONS} == set(CASES)


@given(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=32),
    st.integers(0, 512),
)  # fmt: skip
def test_every_completion_has_a_reaction(
    status: int, host_status: int, driver_status: int, sense: bytes, residual_bytes: int
) -> None:
    completion = Completion(status, host_status, driver_status, sense, residual_bytes)
    reaction = reaction_to(completion)
    is_done = judge(completion) is Verdict.GOOD and residual_bytes == 0
    assert (reaction.action is Action.DONE) is is_done


def test_a_reaction_without_an_end_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="for ever"):
        Reaction(Action.AGAIN, max_count=None)


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(0, 3000))
def test_pauses_double_up_to_the_longest(first_s: float, longest_s: float, earlier: int) -> None:
    back_off = BackOff(first_s, longest_s)
    pause_s = back_off.pause_s(earlier)
    assert 0 < pause_s <= longest_s
    assert pause_s == longest_s or pause_s == pytest.approx(first_s * 2**earlier)


@pytest.mark.parametrize(
    "completion",
    [
        TIMEOUT,
        Completion(host_status=HostStatus.NO_CONNECT),
        Completion(host_status=HostStatus.SOFT_ERROR),
        Completion(host_status=HostStatus.PASSTHROUGH),
        Completion(host_status=0x77),
        Completion(driver_status=0x06),
        Completion(driver_status=0x04),
    ],
)
def test_without_an_answer_a_write_may_still_land(completion: Completion) -> None:
    assert may_still_run(completion)


@pytest.mark.parametrize(
    "completion",
    [
        Completion(),
        Completion(residual_bytes=512),
        CONFLICT,
        Completion(status=Status.BUSY),
        Completion(status=Status.TASK_ABORTED),
        Completion(status=0x77),
        Completion(status=Status.CHECK_CONDITION),
        check_condition("5/25/00"),
        check_condition("b/4b/03"),
        Completion(status=Status.RESERVATION_CONFLICT, host_status=0x11),
    ],
)
def test_an_answer_is_the_end_of_a_command(completion: Completion) -> None:
    assert not may_still_run(completion)
