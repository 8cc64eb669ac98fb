"""Additional sense codes this project decides on, named (SPC-4 annex F.2).

Only those that some row of the verdict table, a test or a person looking at a message needs; all others
print as numbers.
"""

from mpio_fuse.scsi.sense import Sense

Code = tuple[int, int]
"""ASC and ASCQ."""

# LOGICAL UNIT NOT READY and asymmetric access.
BECOMING_READY: Code = (0x04, 0x01)
ACCESS_STATE_TRANSITION: Code = (0x04, 0x0A)
TARGET_PORT_STANDBY: Code = (0x04, 0x0B)
TARGET_PORT_UNAVAILABLE: Code = (0x04, 0x0C)
COMMUNICATION_FAILURE: Code = (0x08, 0x00)

# ILLEGAL REQUEST.
INVALID_OPERATION_CODE: Code = (0x20, 0x00)
LBA_OUT_OF_RANGE: Code = (0x21, 0x00)
INVALID_FIELD_IN_CDB: Code = (0x24, 0x00)
LOGICAL_UNIT_NOT_SUPPORTED: Code = (0x25, 0x00)
INVALID_FIELD_IN_PARAMETER_LIST: Code = (0x26, 0x00)
INVALID_RELEASE: Code = (0x26, 0x04)

# DATA PROTECT.
WRITE_PROTECTED: Code = (0x27, 0x00)
SPACE_ALLOCATION_FAILED: Code = (0x27, 0x07)

# UNIT ATTENTION.
MEDIUM_MAY_HAVE_CHANGED: Code = (0x28, 0x00)
POWER_ON_OR_RESET: Code = (0x29, 0x00)
I_T_NEXUS_LOSS: Code = (0x29, 0x07)
PARAMETERS_CHANGED: Code = (0x2A, 0x00)
RESERVATIONS_PREEMPTED: Code = (0x2A, 0x03)
RESERVATIONS_RELEASED: Code = (0x2A, 0x04)
REGISTRATIONS_PREEMPTED: Code = (0x2A, 0x05)
ACCESS_STATE_CHANGED: Code = (0x2A, 0x06)
CAPACITY_DATA_HAS_CHANGED: Code = (0x2A, 0x09)
COMMANDS_CLEARED_BY_ANOTHER_INITIATOR: Code = (0x2F, 0x00)
INQUIRY_DATA_CHANGED: Code = (0x3F, 0x03)
REPORTED_LUNS_CHANGED: Code = (0x3F, 0x0E)

TEXTS: dict[Code, str] = {
    (0x00, 0x00): "no additional sense information",
    BECOMING_READY: "logical unit is in process of becoming ready",
    (0x04, 0x02): "logical unit not ready, initializing command required",
    (0x04, 0x03): "logical unit not ready, manual intervention required",
    ACCESS_STATE_TRANSITION: "logical unit not accessible, asymmetric access state transition",
    TARGET_PORT_STANDBY: "logical unit not accessible, target port in standby state",
    TARGET_PORT_UNAVAILABLE: "logical unit not accessible, target port in unavailable state",
    COMMUNICATION_FAILURE: "logical unit communication failure",
    (0x0C, 0x00): "write error",
    (0x11, 0x00): "unrecovered read error",
    INVALID_OPERATION_CODE: "invalid command operation code",
    LBA_OUT_OF_RANGE: "logical block address out of range",
    INVALID_FIELD_IN_CDB: "invalid field in CDB",
    LOGICAL_UNIT_NOT_SUPPORTED: "logical unit not supported",
    INVALID_FIELD_IN_PARAMETER_LIST: "invalid field in parameter list",
    INVALID_RELEASE: "invalid release of persistent reservation",
    WRITE_PROTECTED: "write protected",
    SPACE_ALLOCATION_FAILED: "space allocation failed write protect",
    MEDIUM_MAY_HAVE_CHANGED: "not ready to ready change, medium may have changed",
    POWER_ON_OR_RESET: "power on, reset, or bus device reset occurred",
    (0x29, 0x01): "power on occurred",
    (0x29, 0x02): "SCSI bus reset occurred",
    (0x29, 0x03): "bus device reset function occurred",
    (0x29, 0x04): "device internal reset",
    I_T_NEXUS_LOSS: "I_T nexus loss occurred",
    PARAMETERS_CHANGED: "parameters changed",
    (0x2A, 0x01): "mode parameters changed",
    RESERVATIONS_PREEMPTED: "reservations preempted",
    RESERVATIONS_RELEASED: "reservations released",
    REGISTRATIONS_PREEMPTED: "registrations preempted",
    ACCESS_STATE_CHANGED: "asymmetric access state changed",
    (0x2A, 0x07): "implicit asymmetric access state transition failed",
    CAPACITY_DATA_HAS_CHANGED: "capacity data has changed",
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR: "commands cleared by another initiator",
    (0x38, 0x07): "thin provisioning soft threshold reached",
    (0x3A, 0x00): "medium not present",
    (0x3F, 0x01): "microcode has been changed",
    INQUIRY_DATA_CHANGED: "INQUIRY data has changed",
    (0x3F, 0x05): "device identifier changed",
    REPORTED_LUNS_CHANGED: "reported LUNs data has changed",
    (0x44, 0x00): "internal target failure",
    (0x47, 0x03): "information unit iuCRC error detected",
    (0x4B, 0x03): "ACK/NAK timeout",
    (0x55, 0x04): "insufficient registration resources",
    (0x5D, 0x00): "failure prediction threshold exceeded",
}
"""The standard's wording, in lower case."""


def describe_sense(sense: Sense) -> str:
    """One phrase: ``UNIT ATTENTION 29/03 bus device reset function occurred``."""
    text = TEXTS.get((sense.asc, sense.ascq))
    deferred = "deferred " if sense.is_deferred else ""
    phrase = f"{deferred}{sense.key.title} {sense.asc:02x}/{sense.ascq:02x}"
    return f"{phrase} {text}" if text else phrase
