"""Decoding PERSISTENT RESERVE OUT on the target's side (SPC-4 6.16): CDB and parameter list.

What comes from an initiator is hostile here: a list that does not hold what the CDB says ends the command.
"""

import attrs

from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_out import ALL_TG_PT, APTPL, MOVE_APTPL, MOVE_UNREG, SPEC_I_PT
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import KEY_LENGTH_BYTES, ReservationKey
from mpio_fuse.scsi.transport_id import TransportId
from mpio_fuse.scsi.wire import Fields
from mpio_fuse.target.quirks import Quirks
from mpio_fuse.target.refusal import INVALID_FIELD, Refusal

BASIC_LENGTH_BYTES = 24


@attrs.frozen
class PrOutRequest:
    """One PERSISTENT RESERVE OUT.  ``type`` and ``scope`` are numbers; not every action looks at them."""

    action: PrOut
    scope: int
    type: int
    key: ReservationKey
    action_key: ReservationKey
    aptpl: bool = False
    all_tg_pt: bool = False
    spec_i_pt: bool = False
    unregister: bool = False
    relative_target_port: int = 0
    transport_ids: tuple[TransportId, ...] = ()

    @property
    def scope_and_type(self) -> int:
        """Byte 2 of the CDB."""
        return self.scope << 4 | self.type

    @property
    def pr_type(self) -> PrType:
        """The TYPE field, for the actions that look at it.

        Raises:
            Refusal: INVALID FIELD IN CDB.
        """
        try:
            return PrType(self.type)
        except ValueError:
            raise Refusal(INVALID_FIELD) from None


def decode_pr_out(cdb: bytes, data_out: bytes, quirks: Quirks) -> PrOutRequest:
    """The request in a CDB of 10 bytes and its parameter list.

    Raises:
        Refusal: an action this array has not, a wrong length, or a capability it has not.
    """
    length = int.from_bytes(cdb[5:9], "big")
    is_wrong = length < BASIC_LENGTH_BYTES or len(data_out) < length
    if quirks.checks_length_before_action and (is_wrong or _is_long(cdb, data_out, length)):
        raise Refusal(quirks.invalid_length)
    action = _action(cdb[1] & 0x1F, quirks)
    if is_wrong:
        raise Refusal(quirks.invalid_length)
    fields = Fields("PERSISTENT RESERVE OUT parameter list", data_out[:length])
    decode = _move if action is PrOut.REGISTER_AND_MOVE else _basic
    return decode(action, cdb[2], fields, quirks)


def _is_long(cdb: bytes, data_out: bytes, length: int) -> bool:
    """More than the basic list, without a reason to be."""
    has_more = cdb[1] & 0x1F == PrOut.REGISTER_AND_MOVE or data_out[20] & SPEC_I_PT
    return length != BASIC_LENGTH_BYTES and not has_more


def _action(number: int, quirks: Quirks) -> PrOut:
    missing = {
        PrOut.PREEMPT_AND_ABORT: not quirks.has_preempt_and_abort,
        PrOut.REGISTER_AND_MOVE: not quirks.has_register_and_move,
        PrOut.REPLACE_LOST_RESERVATION: not quirks.has_replace_lost_reservation,
    }
    if number not in set(PrOut) or missing.get(PrOut(number), False):
        raise Refusal(INVALID_FIELD)
    return PrOut(number)


def _basic(action: PrOut, scope_and_type: int, fields: Fields, quirks: Quirks) -> PrOutRequest:
    flags = fields.u8(20)
    lacking = (
        (0 if quirks.has_aptpl else APTPL)
        | (0 if quirks.has_all_tg_pt else ALL_TG_PT)
        | (SPEC_I_PT if not quirks.has_spec_i_pt or action is not PrOut.REGISTER else 0)
    )
    if flags & lacking:
        raise Refusal(quirks.invalid_parameter)
    if not flags & SPEC_I_PT and len(fields) != BASIC_LENGTH_BYTES:
        raise Refusal(quirks.invalid_length)
    return PrOutRequest(
        action=action,
        scope=scope_and_type >> 4,
        type=scope_and_type & 0x0F,
        key=ReservationKey(fields.raw(0, KEY_LENGTH_BYTES)),
        action_key=ReservationKey(fields.raw(8, KEY_LENGTH_BYTES)),
        aptpl=bool(flags & APTPL),
        all_tg_pt=bool(flags & ALL_TG_PT),
        spec_i_pt=bool(flags & SPEC_I_PT),
        transport_ids=_transport_id_list(fields, quirks) if flags & SPEC_I_PT else (),
    )


def _move(action: PrOut, scope_and_type: int, fields: Fields, quirks: Quirks) -> PrOutRequest:
    length = fields.u32(20)
    if BASIC_LENGTH_BYTES + length != len(fields):
        raise Refusal(quirks.invalid_parameter)
    flags = fields.u8(17)
    return PrOutRequest(
        action=action,
        scope=scope_and_type >> 4,
        type=scope_and_type & 0x0F,
        key=ReservationKey(fields.raw(0, KEY_LENGTH_BYTES)),
        action_key=ReservationKey(fields.raw(8, KEY_LENGTH_BYTES)),
        aptpl=bool(flags & MOVE_APTPL),
        unregister=bool(flags & MOVE_UNREG),
        relative_target_port=fields.u16(18),
        transport_ids=(TransportId(fields.raw(BASIC_LENGTH_BYTES, length)),),
    )


def _transport_id_list(fields: Fields, quirks: Quirks) -> tuple[TransportId, ...]:
    """6.16.3, table 220: a length and then TransportIDs, each of which says how long it is."""
    if len(fields) < 28 or 28 + fields.u32(24) != len(fields):
        raise Refusal(quirks.invalid_parameter)
    found = []
    offset = 28
    while offset < len(fields):
        length = _transport_id_length(fields.data[offset:])
        if offset + length > len(fields):
            raise Refusal(quirks.invalid_parameter)
        found.append(TransportId(fields.raw(offset, length)))
        offset += length
    return tuple(found)


def _transport_id_length(data: bytes) -> int:
    """7.6.4: 24 bytes, but iSCSI's says its own length."""
    is_iscsi = data[0] & 0x0F == 0x5
    return 4 + int.from_bytes(data[2:4], "big") if is_iscsi else 24
