"""Operation codes and service actions of the commands this package builds (SPC-4, SBC-3)."""

import enum


class OpCode(enum.IntEnum):
    """Byte 0 of a CDB (SPC-4 annex F.3)."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    INQUIRY = 0x12
    RESERVE_6 = 0x16
    RELEASE_6 = 0x17
    MODE_SENSE_6 = 0x1A
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    SYNCHRONIZE_CACHE_10 = 0x35
    PERSISTENT_RESERVE_IN = 0x5E
    PERSISTENT_RESERVE_OUT = 0x5F
    READ_16 = 0x88
    WRITE_16 = 0x8A
    SYNCHRONIZE_CACHE_16 = 0x91
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    MAINTENANCE_IN = 0xA3


class ServiceActionIn16(enum.IntEnum):
    """Service actions of SERVICE ACTION IN(16) (SBC-3 table 2)."""

    READ_CAPACITY_16 = 0x10


class MaintenanceIn(enum.IntEnum):
    """Service actions of MAINTENANCE IN (SPC-4 table F.5)."""

    REPORT_TARGET_PORT_GROUPS = 0x0A


class PrIn(enum.IntEnum):
    """Service actions of PERSISTENT RESERVE IN (SPC-4 6.15, table 206)."""

    READ_KEYS = 0x00
    READ_RESERVATION = 0x01
    REPORT_CAPABILITIES = 0x02
    READ_FULL_STATUS = 0x03


class PrOut(enum.IntEnum):
    """Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16, table 217)."""

    REGISTER = 0x00
    RESERVE = 0x01
    RELEASE = 0x02
    CLEAR = 0x03
    PREEMPT = 0x04
    PREEMPT_AND_ABORT = 0x05
    REGISTER_AND_IGNORE_EXISTING_KEY = 0x06
    REGISTER_AND_MOVE = 0x07
    REPLACE_LOST_RESERVATION = 0x08


class TaskManagement(enum.IntEnum):
    """Task management functions, by the codes of iSCSI (RFC 7143 11.5.1)."""

    LOGICAL_UNIT_RESET = 5
