"""How a command ends other than GOOD: raised where that is decided, turned into an answer in one place."""

import attrs

from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.scsi.sense_codes import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPERATION_CODE,
    Code,
)

PARAMETER_LIST_LENGTH_ERROR: Code = (0x1A, 0x00)


@attrs.frozen
class Ending:
    """A status, with the sense that goes with it."""

    status: Status
    sense: bytes = attrs.field(default=b"", repr=lambda sense: sense.hex(" "))


class Refusal(Exception):
    """The command ends this way, and has changed nothing."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(repr(ending))
        self.ending = ending


def check_condition(key: SenseKey, code: Code) -> Ending:
    """CHECK CONDITION with that sense."""
    return Ending(Status.CHECK_CONDITION, encode_sense(Sense(key, *code)))


def illegal_request(code: Code) -> Ending:
    """CHECK CONDITION, ILLEGAL REQUEST."""
    return check_condition(SenseKey.ILLEGAL_REQUEST, code)


RESERVATION_CONFLICT = Ending(Status.RESERVATION_CONFLICT)
"""A status of its own: no sense goes with it (SAM-5 5.3.1)."""

INVALID_FIELD = illegal_request(INVALID_FIELD_IN_CDB)
INVALID_OPCODE = illegal_request(INVALID_OPERATION_CODE)
