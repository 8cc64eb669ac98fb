"""PERSISTENT RESERVE IN (SPC-4 6.15): registrations and the reservation, as the target tells them.

The ALLOCATION LENGTH may cut a list off.  The target "shall not" change ADDITIONAL LENGTH for that (6.15.1), so
the answer still says how long the whole list is.  `Keys` and `FullStatus` hold what arrived *whole* and say
``is_truncated``; ask again with ``length_bytes``, which is clamped to what a CDB can ask for, so a target that lies
cannot make us ask for ever: a list still truncated then is not to be trusted.

LIO (6.1) does shorten the ADDITIONAL LENGTH of READ FULL STATUS, to the registrants that fit, and so hides that
there are more.  `read_full_status` therefore asks for all that a CDB can ask for at once.
"""

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode, PrIn
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import KEY_LENGTH_BYTES, ReservationKey
from mpio_fuse.scsi.transport_id import TransportId, transport_id_in
from mpio_fuse.scsi.wire import Fields, data_in_buffer, known

HEADER_LENGTH_BYTES = 8
RESERVATION_LENGTH_BYTES = 16
CAPABILITIES_LENGTH_BYTES = 8
FULL_STATUS_LENGTH_BYTES = 24
MAXIMUM_LENGTH_BYTES = 0xFFF8
"""The largest multiple of 8 in the 16-bit ALLOCATION LENGTH of PERSISTENT RESERVE IN."""

_TYPE_MASK_BITS = {
    PrType.WRITE_EXCLUSIVE_ALL_REGISTRANTS: (4, 7),
    PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: (4, 6),
    PrType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: (4, 5),
    PrType.EXCLUSIVE_ACCESS: (4, 3),
    PrType.WRITE_EXCLUSIVE: (4, 1),
    PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: (5, 0),
}
"""Byte and bit of each type in the PERSISTENT RESERVATION TYPE MASK (SPC-4 table 214)."""


@attrs.frozen
class Keys:
    """READ KEYS: one key for each registered I_T nexus, so a key may be listed several times."""

    generation: int
    keys: tuple[ReservationKey, ...]
    length_bytes: int
    is_truncated: bool


@attrs.frozen
class Reservation:
    """READ RESERVATION.  ``holder``, ``type`` and ``scope`` are None together: nobody holds one.

    With a type of all registrants ``holder`` is `ZERO_KEY`: every registrant holds it (SPC-4 6.15.3.2).
    """

    generation: int
    holder: ReservationKey | None = None
    type: PrType | None = None
    scope: Scope | None = None

    @property
    def is_held(self) -> bool:
        return self.holder is not None


@attrs.frozen
class Capabilities:
    """REPORT CAPABILITIES (SPC-4 6.15.4).  ``types`` is None when the target does not list them."""

    has_replace_lost_reservation: bool
    has_compatible_reservation_handling: bool
    has_spec_i_pt: bool
    has_all_tg_pt: bool
    has_persist_through_power_loss: bool
    is_persist_through_power_loss_active: bool
    allow_commands: int
    types: frozenset[PrType] | None


@attrs.frozen
class Registrant:
    """One registration of READ FULL STATUS.  ``type`` and ``scope`` are None unless it holds.

    ``relative_target_port`` means nothing with ``all_tg_pt``.  A registrant of which the target does not say the
    TransportID is a registrant nevertheless.
    """

    key: ReservationKey
    is_holder: bool
    all_tg_pt: bool
    type: PrType | None
    scope: Scope | None
    relative_target_port: int
    transport_id: TransportId | None


@attrs.frozen
class FullStatus:
    """READ FULL STATUS: every registration with its nexus."""

    generation: int
    registrants: tuple[Registrant, ...]
    length_bytes: int
    is_truncated: bool


def read_keys(length_bytes: int = 8192) -> Command:
    """PERSISTENT RESERVE IN, READ KEYS; decode with `decode_keys`."""
    return _persistent_reserve_in(PrIn.READ_KEYS, length_bytes)


def read_reservation() -> Command:
    """PERSISTENT RESERVE IN, READ RESERVATION; decode with `decode_reservation`."""
    length_bytes = HEADER_LENGTH_BYTES + RESERVATION_LENGTH_BYTES
    return _persistent_reserve_in(PrIn.READ_RESERVATION, length_bytes)


def report_capabilities() -> Command:
    """PERSISTENT RESERVE IN, REPORT CAPABILITIES; decode with `decode_capabilities`."""
    return _persistent_reserve_in(PrIn.REPORT_CAPABILITIES, CAPABILITIES_LENGTH_BYTES)


def read_full_status(length_bytes: int = MAXIMUM_LENGTH_BYTES) -> Command:
    """PERSISTENT RESERVE IN, READ FULL STATUS; decode with `decode_full_status`."""
    return _persistent_reserve_in(PrIn.READ_FULL_STATUS, length_bytes)


def decode_keys(data: Buffer) -> Keys:
    """READ KEYS (6.15.2); a key that arrived in part is no key.

    Raises:
        DecodeError: no header, or a list length that is not whole keys.
    """
    fields = Fields("READ KEYS data", data)
    generation, list_length = fields.u32(0), fields.u32(4)
    if list_length % KEY_LENGTH_BYTES:
        raise DecodeError(f"{fields.what}: a list of {list_length} bytes is not whole keys")
    body = fields.body(HEADER_LENGTH_BYTES, list_length)
    whole = range(0, len(body) - KEY_LENGTH_BYTES + 1, KEY_LENGTH_BYTES)
    return Keys(
        generation=generation,
        keys=tuple(ReservationKey(body[start : start + KEY_LENGTH_BYTES]) for start in whole),
        length_bytes=_clamped(list_length),
        is_truncated=len(body) < list_length,
    )


def decode_reservation(data: Buffer) -> Reservation:
    """READ RESERVATION (6.15.3).

    Raises:
        DecodeError: cut off, a length other than 0 and 16, or a type or scope the standard reserves.
    """
    fields = Fields("READ RESERVATION data", data)
    generation, length = fields.u32(0), fields.u32(4)
    if length == 0:
        return Reservation(generation)
    if length != RESERVATION_LENGTH_BYTES:
        raise DecodeError(f"{fields.what}: a reservation of {length} bytes")
    fields.raw(HEADER_LENGTH_BYTES, length)
    return Reservation(
        generation=generation,
        holder=ReservationKey(fields.raw(8, KEY_LENGTH_BYTES)),
        type=known(PrType, fields.bits(21, 3, 0), fields.what),
        scope=known(Scope, fields.bits(21, 7, 4), fields.what),
    )


def decode_capabilities(data: Buffer) -> Capabilities:
    """REPORT CAPABILITIES (6.15.4), always 8 bytes."""
    received = Fields("REPORT CAPABILITIES data", data)
    fields = received.part(received.what, 0, CAPABILITIES_LENGTH_BYTES)
    if fields.u16(0) != CAPABILITIES_LENGTH_BYTES:
        raise DecodeError(f"{fields.what}: a length of {fields.u16(0)}, not 8")
    mask = (kind for kind, (byte, bit) in _TYPE_MASK_BITS.items() if fields.flag(byte, bit))
    return Capabilities(
        has_replace_lost_reservation=fields.flag(2, 7),
        has_compatible_reservation_handling=fields.flag(2, 4),
        has_spec_i_pt=fields.flag(2, 3),
        has_all_tg_pt=fields.flag(2, 2),
        has_persist_through_power_loss=fields.flag(2, 0),
        is_persist_through_power_loss_active=fields.flag(3, 0),
        allow_commands=fields.bits(3, 6, 4),
        types=frozenset(mask) if fields.flag(3, 7) else None,
    )


def decode_full_status(data: Buffer) -> FullStatus:
    """READ FULL STATUS (6.15.5); a registrant that arrived in part is left out, and truncation told.

    Raises:
        DecodeError: no header, a descriptor that runs over the list's end, a holder of reserved type.
    """
    fields = Fields("READ FULL STATUS data", data)
    generation, list_length = fields.u32(0), fields.u32(4)
    body = Fields(fields.what, fields.body(HEADER_LENGTH_BYTES, list_length))
    return FullStatus(
        generation=generation,
        registrants=tuple(_registrants(body, list_length)),
        length_bytes=_clamped(list_length),
        is_truncated=len(body) < list_length,
    )


def _registrants(body: Fields, list_length: int) -> list[Registrant]:
    found: list[Registrant] = []
    offset = 0
    while offset + FULL_STATUS_LENGTH_BYTES <= len(body):
        length = FULL_STATUS_LENGTH_BYTES + body.u32(offset + 20)
        if offset + length > list_length:
            raise DecodeError(f"{body.what}: a registrant runs over the end of the list")
        if offset + length > len(body):
            return found
        found.append(_registrant(body.part(body.what, offset, length)))
        offset += length
    if offset != list_length and len(body) == list_length:
        raise DecodeError(f"{body.what}: {list_length - offset} bytes are no registrant")
    return found


def _registrant(fields: Fields) -> Registrant:
    is_holder = fields.flag(12, 0)
    # 6.15.5: "if the R_HOLDER bit is set to zero, the contents of TYPE and SCOPE are not defined".
    kind, scope = fields.bits(13, 3, 0), fields.bits(13, 7, 4)
    return Registrant(
        key=ReservationKey(fields.raw(0, KEY_LENGTH_BYTES)),
        is_holder=is_holder,
        all_tg_pt=fields.flag(12, 1),
        type=known(PrType, kind, fields.what) if is_holder else None,
        scope=known(Scope, scope, fields.what) if is_holder else None,
        relative_target_port=fields.u16(18),
        transport_id=transport_id_in(fields, FULL_STATUS_LENGTH_BYTES, fields.u32(20)),
    )


def _clamped(list_length: int) -> int:
    return min(HEADER_LENGTH_BYTES + list_length, MAXIMUM_LENGTH_BYTES)


def _persistent_reserve_in(action: PrIn, length_bytes: int) -> Command:
    name = f"PERSISTENT RESERVE IN, {action.name.replace('_', ' ')}"
    data_in, allocation = data_in_buffer(length_bytes, 2, name)
    cdb = bytes((OpCode.PERSISTENT_RESERVE_IN, action)) + bytes(5) + allocation + b"\0"
    return Command(name, cdb, data_in=data_in)
