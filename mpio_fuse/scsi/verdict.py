"""What a completion means for the caller: `judge`, by the one table in `verdict_table`.

The verdict says what kind of thing happened, not how often to try: limits are the caller's.  It does not
look at ``residual_bytes`` either; whoever asked for data compares what was `received`.

A verdict does not say whether the command was executed.  When `is_answer_lost`, nobody on this side knows:
it may have been, and it may still be.  Then a PERSISTENT RESERVE OUT is judged by reading the state, and a
write is repeated elsewhere only once the first is known to be dead.
"""

import functools

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.sense import Sense, decode_sense
from mpio_fuse.scsi.sense_codes import describe_sense
from mpio_fuse.scsi.verdict_table import TABLE, Row, Verdict

__all__ = ["Verdict", "deciding_row", "describe", "is_answer_lost", "judge", "sense_of"]

_ANNOTATIONS = frozenset((0x10, 0x11, 0x12, 0x13))
"""DID_TARGET_FAILURE, _NEXUS_FAILURE, _ALLOC_FAILURE, _MEDIUM_ERROR: older kernels put them beside a SAM
status (0x11 beside RESERVATION CONFLICT), and the status is the answer."""

REMEMBERED = 256
"""How many completions' rows are kept: nearly all are alike, and finding the row of one takes 40 us."""

_DRIVER_MASK = 0x0F
"""The high half of the driver byte was a suggestion to the kernel itself."""


def judge(completion: Completion) -> Verdict:
    """Give the one verdict on a completion."""
    return deciding_row(completion).verdict


@functools.lru_cache(maxsize=REMEMBERED)
def deciding_row(completion: Completion) -> Row:
    """Find the row of the table that decides: the verdict with its reason."""
    looked_at = _normalised(completion)
    sense = sense_of(looked_at)
    return next(row for row in TABLE if row.matches(looked_at, sense))


def is_answer_lost(completion: Completion) -> bool:
    """Tell whether the target's answer never arrived, so that the command may have been executed."""
    looked_at = _normalised(completion)
    is_timeout = looked_at.driver_status == 0x06 and looked_at.status == Status.GOOD
    return looked_at.host_status != HostStatus.OK or is_timeout


def sense_of(completion: Completion) -> Sense | None:
    """Decode the sense of a CHECK CONDITION; None when there is none that can be decoded."""
    if completion.status != Status.CHECK_CONDITION:
        return None
    try:
        return decode_sense(completion.sense)
    except DecodeError:
        return None


def describe(completion: Completion) -> str:
    """Say in one line, to somebody without the standards at hand, how a command ended."""
    looked_at = _normalised(completion)
    if looked_at.host_status != HostStatus.OK:
        return f"host status {_named(HostStatus, looked_at.host_status)}"
    if is_answer_lost(completion):
        return "driver status 0x06 TIMEOUT"
    if looked_at.status != Status.CHECK_CONDITION:
        return _status_text(looked_at.status)
    sense = sense_of(looked_at)
    return f"CHECK CONDITION: {describe_sense(sense) if sense else 'no usable sense data'}"


def _normalised(completion: Completion) -> Completion:
    is_annotated = completion.host_status in _ANNOTATIONS and completion.status != Status.GOOD
    return attrs.evolve(
        completion,
        host_status=HostStatus.OK if is_annotated else completion.host_status,
        driver_status=completion.driver_status & _DRIVER_MASK,
    )


def _status_text(code: int) -> str:
    try:
        return Status(code).name.replace("_", " ")
    except ValueError:
        return f"SAM status {code:#04x}"


def _named(codes: type[HostStatus], code: int) -> str:
    try:
        return f"{code:#04x} {codes(code).name}"
    except ValueError:
        return f"{code:#04x}"
