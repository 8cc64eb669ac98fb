"""Which commands a persistent reservation lets through: the conflict table, as data.

SPC-4 5.13.1 (tables 66 and 67) and SBC-3 4.16 (table 13) say for each command in which of seven situations it
ends with RESERVATION CONFLICT.  The holder is in none of them: it may do everything, and with a type of all
registrants every registrant is the holder.  Arrays differ in a few rows, and those rows are listed under
the array's name; that is all there is to say about it, so `conflicts` only looks up.
"""

import enum
from collections.abc import Mapping

from mpio_fuse.scsi.opcodes import MaintenanceIn, OpCode, PrOut, ServiceActionIn16
from mpio_fuse.scsi.pr_types import PrType


class Situation(enum.Flag):
    """Who sends the command, and what somebody else holds."""

    WE_REGISTERED = enum.auto()
    WE_STRANGER = enum.auto()
    EA_REGISTERED = enum.auto()
    EA_STRANGER = enum.auto()
    RO_REGISTERED = enum.auto()
    WE_RO_STRANGER = enum.auto()
    EA_RO_STRANGER = enum.auto()


NEVER = Situation(0)
READS = Situation.EA_REGISTERED | Situation.EA_STRANGER | Situation.EA_RO_STRANGER
WRITES = READS | Situation.WE_REGISTERED | Situation.WE_STRANGER | Situation.WE_RO_STRANGER
STRANGERS = (
    Situation.WE_STRANGER
    | Situation.EA_STRANGER
    | Situation.WE_RO_STRANGER
    | Situation.EA_RO_STRANGER
)
OTHERS = ~NEVER
"""Conflicts for everybody but the holder."""


class OtherOpCode(enum.IntEnum):
    """Commands the table knows although this project never sends them."""

    VERIFY_10 = 0x2F
    LOG_SENSE = 0x4D
    RESERVE_10 = 0x56
    RELEASE_10 = 0x57
    MODE_SENSE_10 = 0x5A
    WRITE_SAME_16 = 0x93


CommandKey = tuple[int, int | None]
"""Operation code, and service action where the code alone does not say what the command is."""

HAS_SERVICE_ACTION = frozenset(
    {
        OpCode.PERSISTENT_RESERVE_IN,
        OpCode.PERSISTENT_RESERVE_OUT,
        OpCode.SERVICE_ACTION_IN_16,
        OpCode.MAINTENANCE_IN,
    }
)

ConflictTable = Mapping[CommandKey, Situation]

_PR_OUT = {
    PrOut.REGISTER: NEVER,
    PrOut.REGISTER_AND_IGNORE_EXISTING_KEY: NEVER,
    PrOut.RESERVE: OTHERS,
    PrOut.RELEASE: STRANGERS,
    PrOut.CLEAR: STRANGERS,
    PrOut.PREEMPT: STRANGERS,
    PrOut.PREEMPT_AND_ABORT: STRANGERS,
    PrOut.REGISTER_AND_MOVE: OTHERS,
    PrOut.REPLACE_LOST_RESERVATION: NEVER,
}

READ_CAPACITY_10: CommandKey = (OpCode.READ_CAPACITY_10, None)
READ_CAPACITY_16: CommandKey = (OpCode.SERVICE_ACTION_IN_16, ServiceActionIn16.READ_CAPACITY_16)
REPORT_TARGET_PORT_GROUPS: CommandKey = (
    OpCode.MAINTENANCE_IN,
    MaintenanceIn.REPORT_TARGET_PORT_GROUPS,
)

VERIFY_10: CommandKey = (OtherOpCode.VERIFY_10, None)
MODE_SENSE_6: CommandKey = (OpCode.MODE_SENSE_6, None)

RESERVE_10: tuple[CommandKey, ...] = (
    (OtherOpCode.RESERVE_10, None),
    (OtherOpCode.RELEASE_10, None),
)

INFORMATION: frozenset[CommandKey] = frozenset(
    {
        (OpCode.REQUEST_SENSE, None),
        (OpCode.REPORT_LUNS, None),
        READ_CAPACITY_10,
        READ_CAPACITY_16,
    }
)
"""SPC-2 table 10: these pass another nexus's RESERVE(6)."""

SPC_CONFLICTS: ConflictTable = {
    (OpCode.TEST_UNIT_READY, None): NEVER,
    (OpCode.REQUEST_SENSE, None): NEVER,
    (OpCode.INQUIRY, None): NEVER,
    (OpCode.REPORT_LUNS, None): NEVER,
    (OtherOpCode.LOG_SENSE, None): NEVER,
    REPORT_TARGET_PORT_GROUPS: NEVER,
    READ_CAPACITY_10: NEVER,
    READ_CAPACITY_16: NEVER,
    **{(OpCode.PERSISTENT_RESERVE_IN, action): NEVER for action in range(32)},
    **{(OpCode.PERSISTENT_RESERVE_OUT, action): where for action, where in _PR_OUT.items()},
    # Their own rules (mpio_fuse.target.scsi2_reservation) say when these conflict.
    (OpCode.RESERVE_6, None): NEVER,
    (OpCode.RELEASE_6, None): NEVER,
    (OtherOpCode.RESERVE_10, None): NEVER,
    (OtherOpCode.RELEASE_10, None): NEVER,
    (OpCode.READ_10, None): READS,
    (OpCode.READ_16, None): READS,
    (OtherOpCode.VERIFY_10, None): READS,
    (OpCode.MODE_SENSE_6, None): WRITES,
    (OtherOpCode.MODE_SENSE_10, None): WRITES,
    (OpCode.WRITE_10, None): WRITES,
    (OpCode.WRITE_16, None): WRITES,
    (OtherOpCode.WRITE_SAME_16, None): WRITES,
    (OpCode.SYNCHRONIZE_CACHE_10, None): WRITES,
    (OpCode.SYNCHRONIZE_CACHE_16, None): WRITES,
}

_LIO_WITHOUT_DATA = WRITES & ~Situation.WE_STRANGER & ~Situation.WE_RO_STRANGER
"""LIO decides by the direction of the data: what carries none passes a stranger under Write Exclusive."""

_LIO_PR_OUT = {
    # Left to the action itself for registrants of a type of registrants, who then are not the holder.
    PrOut.RESERVE: OTHERS & ~Situation.RO_REGISTERED,
    PrOut.REGISTER_AND_MOVE: OTHERS & ~Situation.RO_REGISTERED,
}

LIO_CONFLICTS: ConflictTable = {
    **SPC_CONFLICTS,
    # What LIO does not know is for the holder alone, who is told that it is not known.
    **{(OpCode.PERSISTENT_RESERVE_OUT, action): OTHERS for action in range(8, 32)},
    **{(OpCode.PERSISTENT_RESERVE_OUT, action): where for action, where in _LIO_PR_OUT.items()},
    READ_CAPACITY_10: READS,
    READ_CAPACITY_16: READS,
    (OpCode.MODE_SENSE_6, None): READS & ~Situation.EA_REGISTERED,
    (OtherOpCode.MODE_SENSE_10, None): READS & ~Situation.EA_REGISTERED,
    (OtherOpCode.VERIFY_10, None): _LIO_WITHOUT_DATA,
    (OpCode.SYNCHRONIZE_CACHE_10, None): _LIO_WITHOUT_DATA,
    (OpCode.SYNCHRONIZE_CACHE_16, None): _LIO_WITHOUT_DATA,
}

LIO_CONFLICTS_WITHOUT_DATA: ConflictTable = {
    **{
        (opcode, None): _LIO_WITHOUT_DATA
        for opcode in (OpCode.READ_10, OpCode.READ_16, OpCode.WRITE_10, OpCode.WRITE_16)
    },
    **{
        (OpCode.PERSISTENT_RESERVE_OUT, action): LIO_CONFLICTS[
            OpCode.PERSISTENT_RESERVE_OUT, action
        ]
        & ~Situation.WE_STRANGER
        & ~Situation.WE_RO_STRANGER
        for action in range(8)
    },
}

TGT_CONFLICTS: ConflictTable = {
    **SPC_CONFLICTS,
    **{(OpCode.PERSISTENT_RESERVE_OUT, action): NEVER for action in PrOut},
    (OtherOpCode.WRITE_SAME_16, None): NEVER,
}


_TRANSFER_LENGTH: dict[int, slice] = {
    OpCode.READ_10: slice(7, 9),
    OpCode.WRITE_10: slice(7, 9),
    OpCode.READ_16: slice(10, 14),
    OpCode.WRITE_16: slice(10, 14),
    OpCode.PERSISTENT_RESERVE_OUT: slice(5, 9),
}
"""Where a CDB says how much data it moves, for commands that may move none."""


def carries_no_data(cdb: bytes) -> bool:
    """Whether it could move data and asks for none."""
    length = _TRANSFER_LENGTH.get(cdb[0])
    return length is not None and not any(cdb[length])


def command_key(cdb: bytes) -> CommandKey:
    """The row of the table a CDB is looked up in."""
    opcode = cdb[0]
    if opcode in HAS_SERVICE_ACTION and len(cdb) > 1:
        return opcode, cdb[1] & 0x1F
    return opcode, None


def situation(pr_type: PrType, *, is_registered: bool) -> Situation:
    """Where a nexus stands that does not hold the reservation of that type."""
    is_write_exclusive = pr_type.name.startswith("WRITE_EXCLUSIVE")
    if pr_type.is_registrants_only or pr_type.is_all_registrants:
        if is_registered:
            return Situation.RO_REGISTERED
        return Situation.WE_RO_STRANGER if is_write_exclusive else Situation.EA_RO_STRANGER
    if is_write_exclusive:
        return Situation.WE_REGISTERED if is_registered else Situation.WE_STRANGER
    return Situation.EA_REGISTERED if is_registered else Situation.EA_STRANGER


def conflicts(table: ConflictTable, cdb: bytes, where: Situation) -> bool:
    """Whether the command ends with RESERVATION CONFLICT there; a command not in the table does not."""
    return bool(table.get(command_key(cdb), NEVER) & where)
