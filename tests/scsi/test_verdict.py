"""The verdict table, row by row, and what no completion may ever be taken for."""

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.scsi.verdict import (
    Verdict,
    deciding_row,
    describe,
    is_answer_lost,
    judge,
)
from mpio_fuse.scsi.verdict_table import TABLE, Row
from tests.scsi.answers import TARGETS, answer


def check(code: str, *, is_deferred: bool = False) -> Completion:
    key, asc, ascq = (int(part, 16) for part in code.split("/"))
    sense = Sense(SenseKey(key), asc, ascq, is_deferred=is_deferred)
    return Completion(status=Status.CHECK_CONDITION, sense=encode_sense(sense))


EXPECTED = {
    # host status
    **dict.fromkeys(
        (
            HostStatus.NO_CONNECT,
            HostStatus.BUS_BUSY,
            HostStatus.TIME_OUT,
            HostStatus.BAD_TARGET,
            HostStatus.ABORT,
            HostStatus.PARITY,
            HostStatus.ERROR,
            HostStatus.RESET,
            HostStatus.BAD_INTR,
            HostStatus.TRANSPORT_DISRUPTED,
            HostStatus.TRANSPORT_FAILFAST,
            HostStatus.TRANSPORT_MARGINAL,
        ),
        Verdict.RETRY_ELSEWHERE,
    ),
    HostStatus.SOFT_ERROR: Verdict.RETRY_HERE,
    HostStatus.IMM_RETRY: Verdict.RETRY_HERE,
    HostStatus.REQUEUE: Verdict.RETRY_HERE,
    HostStatus.PASSTHROUGH: Verdict.UNKNOWN,
}
STATUSES = {
    Status.GOOD: Verdict.GOOD,
    Status.CONDITION_MET: Verdict.GOOD,
    Status.BUSY: Verdict.RETRY_HERE,
    Status.TASK_SET_FULL: Verdict.RETRY_HERE,
    Status.ACA_ACTIVE: Verdict.RETRY_HERE,
    Status.RESERVATION_CONFLICT: Verdict.REEXAMINE,
    Status.TASK_ABORTED: Verdict.TASK_ABORTED,
    Status.CHECK_CONDITION: Verdict.UNKNOWN,
}
CHECKS = {
    "0/00/00": Verdict.UNKNOWN,
    "1/17/01": Verdict.GOOD,
    "1/5d/00": Verdict.GOOD,
    "2/04/00": Verdict.NOT_READY,
    "2/04/01": Verdict.RETRY_HERE,
    "2/04/02": Verdict.NOT_READY,
    "2/04/0a": Verdict.STANDBY,
    "2/04/0b": Verdict.STANDBY,
    "2/04/0c": Verdict.STANDBY,
    "2/08/00": Verdict.NOT_READY,
    "2/3a/00": Verdict.NOT_READY,
    "3/0c/00": Verdict.MEDIUM_ERROR,
    "3/11/00": Verdict.MEDIUM_ERROR,
    "4/44/00": Verdict.NOT_READY,
    "5/20/00": Verdict.NOT_SUPPORTED,
    "5/20/02": Verdict.INVALID,
    "5/21/00": Verdict.INVALID,
    "5/24/00": Verdict.NOT_SUPPORTED,
    "5/25/00": Verdict.RETRY_ELSEWHERE,
    "5/26/00": Verdict.INVALID,
    "5/26/04": Verdict.INVALID,
    "6/28/00": Verdict.RECHECK_IDENTITY,
    "6/29/00": Verdict.RECHECK_IDENTITY,
    "6/29/03": Verdict.RECHECK_IDENTITY,
    "6/29/07": Verdict.RECHECK_IDENTITY,
    "6/2a/00": Verdict.REEXAMINE,
    "6/2a/01": Verdict.RETRY_HERE,
    "6/2a/03": Verdict.REEXAMINE,
    "6/2a/04": Verdict.REEXAMINE,
    "6/2a/05": Verdict.REEXAMINE,
    "6/2a/06": Verdict.RETRY_HERE,
    "6/2a/09": Verdict.CAPACITY_CHANGED,
    "6/2f/00": Verdict.REEXAMINE,
    "6/38/07": Verdict.RETRY_HERE,
    "6/3f/01": Verdict.RECHECK_IDENTITY,
    "6/3f/03": Verdict.RECHECK_IDENTITY,
    "6/3f/05": Verdict.RECHECK_IDENTITY,
    "6/3f/0e": Verdict.RECHECK_IDENTITY,
    "7/27/00": Verdict.WRITE_PROTECTED,
    "7/27/07": Verdict.NO_SPACE,
    "8/00/00": Verdict.UNKNOWN,
    "9/80/00": Verdict.UNKNOWN,
    "a/00/00": Verdict.UNKNOWN,
    "b/4b/03": Verdict.RETRY_HERE,
    "d/00/00": Verdict.INVALID,
    "e/1d/00": Verdict.INVALID,
    "f/00/00": Verdict.GOOD,
}


@pytest.mark.parametrize(("host_status", "verdict"), EXPECTED.items())
def test_host_status(host_status: int, verdict: Verdict) -> None:
    assert judge(Completion(host_status=host_status)) is verdict
    assert verdict.blames_underpath == (verdict is Verdict.RETRY_ELSEWHERE)


@pytest.mark.parametrize(("status", "verdict"), STATUSES.items())
def test_status_without_sense(status: int, verdict: Verdict) -> None:
    assert judge(Completion(status=status)) is verdict


@pytest.mark.parametrize(("code", "verdict"), CHECKS.items())
def test_check_condition(code: str, verdict: Verdict) -> None:
    assert judge(check(code)) is verdict


@pytest.mark.parametrize("code", CHECKS)
def test_a_deferred_error_is_another_commands(code: str) -> None:
    """The command it came with was not executed, so even a recovered error is not GOOD."""
    verdict = judge(check(code, is_deferred=True))
    assert verdict is (Verdict.RETRY_HERE if code[0] == "1" else Verdict.DEFERRED_ERROR)


def _example(row: Row) -> Completion:
    """The plainest completion a row is about."""
    status = row.status if row.status is not None else 0x77
    completion = Completion(
        status=status, host_status=row.host_status or 0, driver_status=row.driver_status or 0
    )
    if status != Status.CHECK_CONDITION or row.is_deferred is None:
        return completion
    key = SenseKey.MEDIUM_ERROR if row.key is None else row.key
    sense = Sense(key, row.asc or 0, row.ascq or 0, is_deferred=row.is_deferred)
    return attrs.evolve(completion, sense=encode_sense(sense))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.reason)
def test_every_row_decides_something(row: Row) -> None:
    """No row is hidden behind an earlier one; the last has no field and takes what is left."""
    assert deciding_row(_example(row)) is row


def test_every_row_has_a_reason_and_every_verdict_a_row() -> None:
    assert all(row.reason for row in TABLE)
    assert {row.verdict for row in TABLE} == set(Verdict)
    assert len({verdict.value for verdict in Verdict}) == len(Verdict)


def test_every_named_host_status_and_status_is_expected_here() -> None:
    assert {*EXPECTED, HostStatus.OK} == set(HostStatus)
    assert set(STATUSES) == set(Status)
    assert {code.split("/")[0] for code in CHECKS} == {f"{key:x}" for key in SenseKey} - {"c"}


@pytest.mark.hazard(11)
def test_a_conflict_never_speaks_against_an_underpath() -> None:
    """It is a SAM status; older kernels add an annotation of their own in the host status."""
    for host_status, driver_status in itertools.product((0, 0x10, 0x11, 0x12, 0x13), (0, 0x08)):
        conflict = Completion(
            status=Status.RESERVATION_CONFLICT,
            host_status=host_status,
            driver_status=driver_status,
        )
        assert judge(conflict) is Verdict.REEXAMINE
        assert not is_answer_lost(conflict)
        assert describe(conflict) == "RESERVATION CONFLICT"


@pytest.mark.hazard(33)
def test_no_host_status_is_ever_a_conflict_or_good() -> None:
    for host_status in range(1, 256):
        verdict = judge(Completion(host_status=host_status))
        assert verdict not in {Verdict.GOOD, Verdict.REEXAMINE}
        assert is_answer_lost(Completion(host_status=host_status))


@given(
    st.integers(0, 255),
    st.sampled_from([code for code in HostStatus if code != HostStatus.OK]),
    st.binary(max_size=32),
)
def test_the_host_status_is_looked_at_first(
    status: int, host_status: HostStatus, sense: bytes
) -> None:
    completion = Completion(status=status, host_status=host_status, sense=sense)
    assert judge(completion) is EXPECTED[host_status]


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=32))
def test_every_completion_has_one_verdict_and_one_line(
    status: int, host_status: int, driver_status: int, sense: bytes
) -> None:
    completion = Completion(status, host_status, driver_status, sense)
    verdict = judge(completion)
    assert judge(completion) is verdict
    assert describe(completion).isprintable()
    if is_answer_lost(completion):
        assert verdict is not Verdict.GOOD


@given(st.sampled_from([Status.GOOD, Status.RESERVATION_CONFLICT, Status.BUSY]), st.binary())
def test_sense_is_only_read_with_check_condition(status: int, sense: bytes) -> None:
    """Buffers are reused; what an earlier command left in one decides nothing."""
    assert judge(Completion(status=status, sense=sense)) is STATUSES[Status(status)]


@pytest.mark.parametrize("sense", [b"", b"\x70", bytes(18), b"\x7f" * 18])
def test_a_check_condition_that_cannot_be_read_is_unknown(sense: bytes) -> None:
    """It may have been the only notice of a preemption."""
    completion = Completion(status=Status.CHECK_CONDITION, sense=sense)
    assert judge(completion) is Verdict.UNKNOWN
    assert describe(completion) == "CHECK CONDITION: no usable sense data"


@pytest.mark.parametrize("driver_status", [0x06, 0x86])
def test_an_older_kernels_driver_timeout_is_no_answer(driver_status: int) -> None:
    completion = Completion(driver_status=driver_status)
    assert judge(completion) is Verdict.RETRY_ELSEWHERE
    assert is_answer_lost(completion)
    assert describe(completion) == "driver status 0x06 TIMEOUT"


@pytest.mark.parametrize(
    ("completion", "line"),
    [
        (Completion(), "GOOD"),
        (
            check("6/29/03"),
            "CHECK CONDITION: UNIT ATTENTION 29/03 bus device reset function occurred",
        ),
        (Completion(host_status=0x0E), "host status 0x0e TRANSPORT_DISRUPTED"),
        (Completion(host_status=0x77), "host status 0x77"),
        (Completion(status=0x40), "TASK ABORTED"),
        (Completion(status=0x77), "SAM status 0x77"),
    ],
)
def test_one_line_for_people(completion: Completion, line: str) -> None:
    assert describe(completion) == line


REAL = {
    "invalid_opcode": Verdict.NOT_SUPPORTED,
    "lba_out_of_range": Verdict.INVALID,
    "keys_unsupported": Verdict.NOT_SUPPORTED,
    "medium_error": Verdict.MEDIUM_ERROR,
    "conflict_read": Verdict.REEXAMINE,
    "conflict_reserve": Verdict.REEXAMINE,
    "victim_holder": Verdict.REEXAMINE,
    "victim_other": Verdict.REEXAMINE,
    "victim_read": Verdict.REEXAMINE,
    "after_clear": Verdict.REEXAMINE,
    "replace_lost": Verdict.NOT_SUPPORTED,
    "reset": Verdict.RECHECK_IDENTITY,
    "power_on": Verdict.GOOD,
    "register": Verdict.GOOD,
    "reserve": Verdict.GOOD,
}
ONLY_IN = {"keys_unsupported": "scsi_debug", "medium_error": "scsi_debug", "power_on": "scsi_debug"}
IN_ALL = {"invalid_opcode", "lba_out_of_range"}


def _recorded() -> list[tuple[str, str]]:
    for_arrays = [name for name in REAL if name not in ONLY_IN]
    cases = [(target, name) for target in ("lio", "tgt") for name in for_arrays]
    cases += [("scsi_debug", name) for name in (*ONLY_IN, *IN_ALL)]
    return cases


@pytest.mark.parametrize(("target", "name"), _recorded())
def test_what_real_targets_answered(target: str, name: str) -> None:
    assert target in TARGETS
    golden = answer(target, name)
    assert judge(golden.completion) is REAL[name]


def test_tgt_has_no_preempt_and_abort_and_lio_has() -> None:
    assert judge(answer("tgt", "preempt_and_abort").completion) is Verdict.NOT_SUPPORTED
    assert judge(answer("lio", "preempt_and_abort").completion) is Verdict.GOOD
