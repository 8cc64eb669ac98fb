"""RESERVE(6) and RELEASE(6) (SPC-2 7.21, 7.17): the reservations of arrays without persistent ones.

They belong to one I_T nexus and vanish with any reset, so they serve a single underpath only.  Where persistent
registrations exist they conflict, or return GOOD and do nothing (CRH).
"""

from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import OpCode


def reserve6() -> Command:
    """RESERVE(6) of the whole logical unit for this nexus."""
    return Command("RESERVE(6)", bytes((OpCode.RESERVE_6,)) + bytes(5))


def release6() -> Command:
    """RELEASE(6); GOOD also when another nexus holds the reservation, which then stays."""
    return Command("RELEASE(6)", bytes((OpCode.RELEASE_6,)) + bytes(5))
