"""Which of the two ways to the driver a command takes.

Commands that move user data, or wait for data to reach the medium, come in numbers and must never cost a
thread each: they are *queued* (written to the driver, read back when ready).  Everything else is rare, small
and is what health checks and reservations are made of: it goes through libsgutils2's pass-through, on a file
description of its own, so that it gets through when all sixteen places of the queue are taken by a hang.
"""

import enum


class Lane(enum.Enum):
    """A way to the driver."""

    QUEUED = "queued"
    THREADED = "threaded"


class DataOpcode(enum.IntEnum):
    """SBC-4 Table 34 and SPC-5: the operation codes that are queued."""

    READ_6 = 0x08
    WRITE_6 = 0x0A
    READ_10 = 0x28
    WRITE_10 = 0x2A
    WRITE_AND_VERIFY_10 = 0x2E
    VERIFY_10 = 0x2F
    PRE_FETCH_10 = 0x34
    SYNCHRONIZE_CACHE_10 = 0x35
    WRITE_SAME_10 = 0x41
    UNMAP = 0x42
    XDWRITEREAD_10 = 0x53
    VARIABLE_LENGTH = 0x7F
    READ_16 = 0x88
    COMPARE_AND_WRITE = 0x89
    WRITE_16 = 0x8A
    ORWRITE_16 = 0x8B
    WRITE_AND_VERIFY_16 = 0x8E
    VERIFY_16 = 0x8F
    PRE_FETCH_16 = 0x90
    SYNCHRONIZE_CACHE_16 = 0x91
    WRITE_SAME_16 = 0x93
    WRITE_ATOMIC_16 = 0x9C
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    WRITE_AND_VERIFY_12 = 0xAE
    VERIFY_12 = 0xAF


_QUEUED = frozenset(int(opcode) for opcode in DataOpcode)


def lane_of(cdb: bytes) -> Lane:
    """The way ``cdb`` takes, by its operation code alone."""
    return Lane.QUEUED if cdb[0] in _QUEUED else Lane.THREADED
