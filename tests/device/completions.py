"""Completions of every kind, for what decides by them."""

from hypothesis import strategies as st

from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense


def check_condition(codes: str, *, is_deferred: bool = False) -> Completion:
    """CHECK CONDITION with key/ASC/ASCQ, in hexadecimal."""
    key, asc, ascq = (int(part, 16) for part in codes.split("/"))
    sense = Sense(SenseKey(key), asc, ascq, is_deferred=is_deferred)
    return Completion(status=Status.CHECK_CONDITION, sense=encode_sense(sense))


CODES = (
    *("1/17/01", "2/04/00", "2/04/01", "2/04/0a", "2/04/0b", "2/04/0c", "2/08/00", "3/11/00"),
    *("4/44/00", "5/20/00", "5/21/00", "5/24/00", "5/25/00", "6/28/00", "6/29/00", "6/29/07"),
    *("6/2a/00", "6/2a/01", "6/2a/03", "6/2a/04", "6/2a/05", "6/2a/06", "6/2a/07", "6/2a/09"),
    *("6/2f/00", "6/3f/0e", "7/27/00", "7/27/07", "b/4b/03", "d/00/00", "e/1d/00", "f/00/00"),
    *("0/00/00", "8/00/00"),
)

COMPLETIONS: tuple[Completion, ...] = (
    Completion(),
    Completion(residual_bytes=512),
    *(Completion(status=status) for status in Status if status != Status.GOOD),
    Completion(status=0x77),
    *(Completion(host_status=code) for code in HostStatus if code != HostStatus.OK),
    Completion(host_status=0x77),
    Completion(driver_status=0x04),
    Completion(driver_status=0x06),
    *(check_condition(codes) for codes in CODES),
    *(check_condition(codes, is_deferred=True) for codes in ("1/17/01", "3/0c/00")),
)
"""At least one of each case there is (the tests see to that)."""

any_completion = st.sampled_from(COMPLETIONS)
