"""REPORT TARGET PORT GROUPS (SPC-4 6.37): asymmetric logical unit access (ALUA), by target port group.

LIO (6.1) answers the extended form with a RETURN DATA LENGTH that is short by the four bytes of the longer header, so
the last descriptor is cut off.  That is a `DecodeError` here; ask for the plain form then.
"""

import enum

import attrs

from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import MaintenanceIn, OpCode
from mpio_fuse.scsi.wire import Fields, data_in_buffer, known

DESCRIPTOR_LENGTH_BYTES = 8
EXTENDED_HEADER = 0x20
"""PARAMETER DATA FORMAT 001b in byte 1 of the CDB; a target without it answers INVALID FIELD IN CDB."""


class AccessState(enum.IntEnum):
    """ASYMMETRIC ACCESS STATE (SPC-4 table 279)."""

    ACTIVE_OPTIMIZED = 0x0
    ACTIVE_NON_OPTIMIZED = 0x1
    STANDBY = 0x2
    UNAVAILABLE = 0x3
    LOGICAL_BLOCK_DEPENDENT = 0x4
    OFFLINE = 0xE
    TRANSITIONING = 0xF


@attrs.frozen
class TargetPortGroup:
    """One target port group: its number, its state, and the relative target ports in it."""

    group: int
    state: AccessState
    is_preferred: bool
    status_code: int
    ports: tuple[int, ...]


@attrs.frozen
class TargetPortGroups:
    """All groups, and how long a transition may take (None: the target does not say)."""

    groups: tuple[TargetPortGroup, ...]
    transition_time_s: int | None = None

    def state_of_port(self, relative_target_port: int) -> AccessState | None:
        """The access state through that target port, None when no group lists it."""
        states = [one.state for one in self.groups if relative_target_port in one.ports]
        return states[0] if states else None


def report_target_port_groups(*, extended: bool = False, length_bytes: int = 4096) -> Command:
    """REPORT TARGET PORT GROUPS; ``extended`` asks for the header with the transition time."""
    data_in, allocation = data_in_buffer(length_bytes, 4, "REPORT TARGET PORT GROUPS")
    action = MaintenanceIn.REPORT_TARGET_PORT_GROUPS | (EXTENDED_HEADER if extended else 0)
    cdb = bytes((OpCode.MAINTENANCE_IN, action)) + bytes(4) + allocation + bytes(2)
    return Command("REPORT TARGET PORT GROUPS", cdb, data_in=data_in)


def decode_target_port_groups(data: Buffer) -> TargetPortGroups:
    """Either form of the answer: byte 4 says which (SPC-4 table 276, FORMAT TYPE).

    Raises:
        DecodeError: the list was cut off, ends within a descriptor, or names a reserved state.
    """
    received = Fields("REPORT TARGET PORT GROUPS data", data)
    fields = received.part(received.what, 0, 4 + received.u32(0))
    if len(fields) == 4:
        return TargetPortGroups(())
    if fields.bits(4, 6, 4) == 1:
        return TargetPortGroups(_groups(fields, 8), fields.u8(5) or None)
    return TargetPortGroups(_groups(fields, 4))


def _groups(fields: Fields, offset: int) -> tuple[TargetPortGroup, ...]:
    groups = []
    fields.raw(0, offset)
    while offset < len(fields):
        length = DESCRIPTOR_LENGTH_BYTES + 4 * fields.u8(offset + 7)
        groups.append(_group(fields.part("target port group descriptor", offset, length)))
        offset += length
    return tuple(groups)


def _group(fields: Fields) -> TargetPortGroup:
    ports = range(DESCRIPTOR_LENGTH_BYTES, len(fields), 4)
    return TargetPortGroup(
        group=fields.u16(2),
        state=known(AccessState, fields.bits(0, 3, 0), fields.what),
        is_preferred=fields.flag(0, 7),
        status_code=fields.u8(5),
        ports=tuple(fields.u16(offset + 2) for offset in ports),
    )
