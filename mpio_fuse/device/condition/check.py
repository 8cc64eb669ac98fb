"""What a check tells of an underpath: the verdict on its completion, read as an answer to "are you there"."""

import enum

from mpio_fuse.scsi.command import Completion
from mpio_fuse.scsi.sense import Sense
from mpio_fuse.scsi.sense_codes import ACCESS_STATE_TRANSITION
from mpio_fuse.scsi.verdict import Verdict, judge, sense_of


class Check(enum.Enum):
    """How a check ended."""

    PASSED = "a command gets through and is answered"
    STANDBY = "it is answered, and the port serves no data now"
    FAILED = "no answer, or none from the logical unit"
    UNCLEAR = "it says nothing about the underpath: nothing changes"


CHECKS: dict[Verdict, Check] = {
    Verdict.GOOD: Check.PASSED,
    # The target is busy, or has something to tell, or refuses this host or this command: it is there.
    Verdict.RETRY_HERE: Check.PASSED,
    Verdict.REEXAMINE: Check.PASSED,
    Verdict.RECHECK_IDENTITY: Check.PASSED,
    Verdict.CAPACITY_CHANGED: Check.PASSED,
    Verdict.TASK_ABORTED: Check.PASSED,
    Verdict.DEFERRED_ERROR: Check.PASSED,
    Verdict.NO_SPACE: Check.PASSED,
    Verdict.WRITE_PROTECTED: Check.PASSED,
    Verdict.NOT_SUPPORTED: Check.PASSED,
    Verdict.INVALID: Check.PASSED,
    # Any other underpath reads the same bad block.
    Verdict.MEDIUM_ERROR: Check.PASSED,
    Verdict.STANDBY: Check.STANDBY,
    Verdict.RETRY_ELSEWHERE: Check.FAILED,
    # The disk's fault: no reason to take an underpath out, and none to bring one back.
    Verdict.NOT_READY: Check.UNCLEAR,
    Verdict.UNKNOWN: Check.UNCLEAR,
}


def check_of(completion: Completion) -> Check:
    """What a completed check command (TEST UNIT READY, or a READ) tells."""
    if _is_transition(sense_of(completion)):
        return Check.UNCLEAR
    return CHECKS[judge(completion)]


def _is_transition(sense: Sense | None) -> bool:
    """An ALUA transition is neither standby nor not."""
    return sense is not None and (sense.asc, sense.ascq) == ACCESS_STATE_TRANSITION
