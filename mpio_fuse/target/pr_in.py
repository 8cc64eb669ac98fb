"""PERSISTENT RESERVE IN on the target's side: encoding what `Registrations` holds (SPC-4 6.15)."""

from collections.abc import Callable

from mpio_fuse.scsi.opcodes import PrIn
from mpio_fuse.scsi.reservation_key import KEY_LENGTH_BYTES, ZERO_KEY
from mpio_fuse.target.registrations import Registration, Registrations

_CRH, _SIP_C, _ATP_C, _PTPL_C, _RLR_C = 0x10, 0x08, 0x04, 0x01, 0x80
_PTPL_A = 0x01
_TYPE_MASK = bytes((0xEA, 0x01))
"""All six types (table 214)."""

_HEADER_LENGTH_BYTES = 8
_RESERVATION_END = 22
"""Behind SCOPE and TYPE, the last bytes of a reservation that mean anything."""

_ALL_TG_PT, _R_HOLDER = 0x02, 0x01


def encode(action: PrIn, state: Registrations, allocation_length_bytes: int) -> bytes:
    """The answer, cut off at the ALLOCATION LENGTH, with the length fields as they are (4.3.5.6)."""
    data = ENCODERS[action](state)[:allocation_length_bytes]
    whole = data
    if state.quirks.only_whole_descriptors and action is PrIn.READ_KEYS:
        whole = data[: len(data) - len(data) % KEY_LENGTH_BYTES]
    elif state.quirks.only_whole_descriptors and action is PrIn.READ_RESERVATION:
        is_whole = allocation_length_bytes >= _RESERVATION_END
        whole = data if is_whole else data[:_HEADER_LENGTH_BYTES]
    return whole.ljust(len(data), b"\0")


def encode_keys(state: Registrations) -> bytes:
    """READ KEYS: one key for each registration, in the order in which they were made."""
    return _with_header(state, b"".join(one.key.raw for one in state.registered))


def encode_reservation(state: Registrations) -> bytes:
    """READ RESERVATION: key 0 for a type of all registrants (6.15.3.2)."""
    if state.holder is None or state.type is None:
        return _with_header(state, b"")
    key = ZERO_KEY if state.type.is_all_registrants else state.holder.key
    return _with_header(state, key.raw + bytes(5) + bytes((state.held_as,)) + bytes(2))


def encode_capabilities(state: Registrations) -> bytes:
    """REPORT CAPABILITIES."""
    quirks = state.quirks
    capable = (
        (_RLR_C if quirks.has_replace_lost_reservation else 0)
        | (_CRH if quirks.has_crh else 0)
        | (_SIP_C if quirks.has_spec_i_pt else 0)
        | (_ATP_C if quirks.has_all_tg_pt else 0)
        | (_PTPL_C if quirks.has_aptpl else 0)
    )
    active = quirks.capability_bits | (_PTPL_A if state.is_aptpl_active else 0)
    return bytes((0, 8, capable, active)) + _TYPE_MASK + bytes(2)


def encode_full_status(state: Registrations) -> bytes:
    """READ FULL STATUS: each registration with its nexus."""
    return _with_header(state, b"".join(_registrant(state, one) for one in state.registered))


def _registrant(state: Registrations, one: Registration) -> bytes:
    holds = state.is_holder(one)
    flags = (_ALL_TG_PT if one.all_tg_pt else 0) | (_R_HOLDER if holds else 0)
    kind = bytes((state.held_as if holds else 0,))
    port = 0 if one.all_tg_pt else one.nexus.target_port
    transport_id = one.nexus.transport_id.raw
    head = one.key.raw + bytes(4) + bytes((flags,)) + kind + bytes(4) + port.to_bytes(2, "big")
    return head + len(transport_id).to_bytes(4, "big") + transport_id


def _with_header(state: Registrations, body: bytes) -> bytes:
    return state.generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


ENCODERS: dict[PrIn, Callable[[Registrations], bytes]] = {
    PrIn.READ_KEYS: encode_keys,
    PrIn.READ_RESERVATION: encode_reservation,
    PrIn.REPORT_CAPABILITIES: encode_capabilities,
    PrIn.READ_FULL_STATUS: encode_full_status,
}
