"""PERSISTENT RESERVE IN and OUT: round trips, lists cut off, and the bytes sg_persist sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi import pr_in, pr_out
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.transport_id import (
    Protocol,
    TransportId,
    fixed_transport_id,
    iscsi_transport_id,
)
from tests.scsi.answers import sent_by_sg_persist

K, S = ReservationKey.parse("123abc"), ReservationKey.parse("0x456def")
HOST_B = "iqn.2026-01.lab:hostb"

SAME_AS_SG_PERSIST = {
    "register": pr_out.register(K, S),
    "register_aptpl": pr_out.register(ZERO_KEY, S, aptpl=True),
    "register_all_tg_pt": pr_out.register(ZERO_KEY, S, all_tg_pt=True),
    "register_spec_i_pt": pr_out.register(
        ZERO_KEY, S, spec_i_pt=[iscsi_transport_id(HOST_B, "00023d000003")]
    ),
    "unregister": pr_out.register(K, ZERO_KEY),
    "register_ignore": pr_out.register_and_ignore_existing_key(S),
    "reserve": pr_out.reserve(K, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
    "release": pr_out.release(K, PrType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY),
    "clear": pr_out.clear(K),
    "preempt": pr_out.preempt(K, S, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
    "preempt_and_abort": pr_out.preempt_and_abort(K, S, PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS),
    "register_and_move": pr_out.register_and_move(
        K, S, 2, iscsi_transport_id(HOST_B), unregister=True
    ),
    "register_and_move_aptpl": pr_out.register_and_move(
        K, S, 0x102, iscsi_transport_id("iqn.2026-01.lab:h"), aptpl=True
    ),
    "replace_lost": pr_out.replace_lost_reservation(S, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
}


@pytest.mark.hazard(33)
@pytest.mark.parametrize(("name", "ours"), SAME_AS_SG_PERSIST.items(), ids=SAME_AS_SG_PERSIST)
def test_persistent_reserve_out_is_what_sg_persist_sends(name: str, ours: Command) -> None:
    assert (ours.cdb, bytes(ours.data_out)) == sent_by_sg_persist(name)


def test_every_service_action_was_compared() -> None:
    assert {one.cdb[1] for one in SAME_AS_SG_PERSIST.values()} == set(PrOut)


@pytest.mark.hazard(33)
def test_the_scope_is_in_the_high_half_of_byte_2() -> None:
    assert pr_out.reserve(K, PrType.EXCLUSIVE_ACCESS, Scope.ELEMENT).cdb[2] == 0x23


KEYS = st.binary(min_size=8, max_size=8).map(ReservationKey)
GENERATIONS = st.integers(0, 0xFFFF_FFFF)


def _key_list(generation: int, keys: list[ReservationKey]) -> bytes:
    body = b"".join(key.raw for key in keys)
    return generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


@pytest.mark.hazard(27, 33)
@given(GENERATIONS, st.lists(KEYS, max_size=12), st.integers(0, 12 * 8))
def test_a_key_list_of_any_length_has_its_first_whole_keys(
    generation: int, keys: list[ReservationKey], body_bytes: int
) -> None:
    ours = pr_in.decode_keys(_key_list(generation, keys)[: 8 + body_bytes])
    assert ours.generation == generation
    assert list(ours.keys) == keys[: body_bytes // 8]
    assert ours.is_truncated == (body_bytes < 8 * len(keys))
    assert ours.length_bytes == 8 + 8 * len(keys)


@pytest.mark.hazard(27)
def test_a_list_longer_than_a_command_can_ask_for_is_asked_for_up_to_that() -> None:
    ours = pr_in.decode_keys(bytes.fromhex("00 00 00 01 ff ff ff f8"))
    assert ours.is_truncated
    again = pr_in.read_keys(ours.length_bytes)
    assert again.cdb[7:9] == b"\xff\xf8"


REGISTRANTS = st.builds(
    pr_in.Registrant,
    key=KEYS,
    is_holder=st.just(value=False),
    all_tg_pt=st.booleans(),
    type=st.none(),
    scope=st.none(),
    relative_target_port=st.integers(0, 0xFFFF),
    transport_id=st.one_of(st.none(), st.binary(min_size=1, max_size=60).map(TransportId)),
)
HOLDERS = st.builds(
    pr_in.Registrant,
    key=KEYS,
    is_holder=st.just(value=True),
    all_tg_pt=st.booleans(),
    type=st.sampled_from(PrType),
    scope=st.sampled_from(Scope),
    relative_target_port=st.integers(0, 0xFFFF),
    transport_id=st.binary(min_size=24, max_size=24).map(TransportId),
)


def _descriptor(one: pr_in.Registrant) -> bytes:
    kind = 0 if one.type is None or one.scope is None else one.scope << 4 | one.type
    transport_id = b"" if one.transport_id is None else one.transport_id.raw
    flags = one.all_tg_pt << 1 | one.is_holder
    head = one.key.raw + bytes(4) + bytes((flags, kind)) + bytes(4)
    port = one.relative_target_port.to_bytes(2, "big")
    return head + port + len(transport_id).to_bytes(4, "big") + transport_id


@given(st.lists(st.one_of(REGISTRANTS, HOLDERS), max_size=5), st.data())
def test_full_status_of_any_length_has_its_first_whole_registrants(
    registrants: list[pr_in.Registrant], data: st.DataObject
) -> None:
    parts = [_descriptor(one) for one in registrants]
    body = b"".join(parts)
    whole = (7).to_bytes(4, "big") + len(body).to_bytes(4, "big") + body
    cut = data.draw(st.integers(0, len(body)))
    ours = pr_in.decode_full_status(whole[: 8 + cut])
    ends = [sum(map(len, parts[: index + 1])) for index in range(len(parts))]
    assert list(ours.registrants) == registrants[: sum(end <= cut for end in ends)]
    assert ours.is_truncated == (cut < len(body))


@pytest.mark.hazard(33)
def test_a_registrant_without_a_transport_id_is_a_registrant() -> None:
    body = K.raw + bytes(16)
    ours = pr_in.decode_full_status(bytes.fromhex("00000001 00000018") + body)
    assert [(one.key, one.transport_id) for one in ours.registrants] == [(K, None)]


def test_type_and_scope_of_who_does_not_hold_are_not_looked_at() -> None:
    body = K.raw + bytes(4) + b"\x00\xff" + bytes(10)
    ours = pr_in.decode_full_status(bytes.fromhex("00000001 00000018") + body)
    assert ours.registrants[0].type is None


def test_the_type_mask_is_only_read_when_it_is_valid() -> None:
    ours = pr_in.decode_capabilities(bytes.fromhex("00 08 00 00 ea 01 00 00"))
    assert ours.types is None
    ours = pr_in.decode_capabilities(bytes.fromhex("00 08 95 81 40 01 00 00"))
    assert ours.types == frozenset((PrType(6), PrType(8)))
    assert ours.has_replace_lost_reservation
    assert ours.has_compatible_reservation_handling
    assert not ours.has_spec_i_pt
    assert ours.has_all_tg_pt
    assert ours.has_persist_through_power_loss
    assert ours.is_persist_through_power_loss_active


@pytest.mark.parametrize(
    ("transport_id", "name"),
    [
        (iscsi_transport_id(HOST_B), HOST_B),
        (iscsi_transport_id(HOST_B, "00023d000003"), f"{HOST_B},i,0x00023d000003"),
        (iscsi_transport_id("iqn.a"), "iqn.a"),
        (fixed_transport_id(Protocol.FIBRE_CHANNEL, bytes(range(8))), "fc.0001020304050607"),
        (fixed_transport_id(Protocol.SAS, b"\x50" * 8), "sas.5050505050505050"),
        (fixed_transport_id(Protocol.SRP, b"\xab" * 16), f"srp.{'ab' * 16}"),
        (TransportId(b"\x0a" + bytes(23)), None),
        (TransportId(bytes.fromhex("05 00 00 ff 69 71 6e 00")), None),
        (TransportId(bytes.fromhex("05 00 00 04 69 71 6e 2e")), None),
        (TransportId(bytes.fromhex("05 00 00 08 69 71 00 6e 2e 00 00 00")), None),
        (TransportId(bytes.fromhex("45 00 00 04 69 71 6e 00")), None),
        (TransportId(b"\x06\0\0\0\x50"), None),
        (TransportId(b""), None),
    ],
    ids=str,
)
def test_transport_ids_have_their_ports_name(transport_id: TransportId, name: str | None) -> None:
    assert transport_id.name == name


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789.:-", min_size=1, max_size=220))
def test_iscsi_transport_ids_are_padded_as_the_standard_wants(name: str) -> None:
    one = iscsi_transport_id(name)
    assert one.name == name
    assert len(one.raw) >= 24
    assert len(one.raw) % 4 == 0
    assert int.from_bytes(one.raw[2:4], "big") == len(one.raw) - 4


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal() -> None:
    name = bytes.fromhex("05 00 00 08") + b"iq\x1b[2J\0\0"
    assert TransportId(name).name == "iq?[2J"


@pytest.mark.parametrize("name", ["", "iqn\n", "iqn\0", "größe"])
def test_bad_iscsi_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        iscsi_transport_id(name)


def test_binary_port_names_have_their_protocols_length() -> None:
    with pytest.raises(UsageError):
        fixed_transport_id(Protocol.SAS, bytes(7))
    with pytest.raises(UsageError):
        fixed_transport_id(Protocol.ISCSI, bytes(8))
