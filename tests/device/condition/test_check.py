"""What a check tells of an underpath."""

import pytest

from mpio_fuse.device.condition.check import CHECKS, Check, check_of
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.verdict import Verdict, judge
from tests.device.completions import COMPLETIONS, check_condition


def test_every_verdict_tells_something() -> None:
    assert set(CHECKS) == set(Verdict)


def test_only_what_blames_an_underpath_fails_its_check() -> None:
    for completion in COMPLETIONS:
        assert (check_of(completion) is Check.FAILED) is judge(completion).blames_underpath


@pytest.mark.parametrize(
    ("completion", "check"),
    [
        (Completion(), Check.PASSED),
        (Completion(status=Status.BUSY), Check.PASSED),
        (Completion(status=Status.RESERVATION_CONFLICT), Check.PASSED),
        (check_condition("6/29/07"), Check.PASSED),
        (check_condition("3/11/00"), Check.PASSED),  # of a read: the disk's fault
        (check_condition("2/04/0b"), Check.STANDBY),
        (check_condition("2/04/0c"), Check.STANDBY),
        (check_condition("2/04/0a"), Check.UNCLEAR),
        (check_condition("2/08/00"), Check.UNCLEAR),
        (Completion(status=0x77), Check.UNCLEAR),
        (check_condition("5/25/00"), Check.FAILED),
        (Completion(host_status=HostStatus.TIME_OUT), Check.FAILED),
    ],
)
def test_what_a_check_tells(completion: Completion, check: Check) -> None:
    assert check_of(completion) is check
