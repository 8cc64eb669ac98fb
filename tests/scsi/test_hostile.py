"""Every decoder against what no honest target sends: cut off, changed, or plain noise."""

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi import (
    capacity,
    inquiry,
    pr_in,
    report_luns,
    sense,
    target_port_groups,
    vpd,
)
from mpio_fuse.scsi.identity import Wwid, logical_unit_wwid
from mpio_fuse.scsi.transport_id import TransportId
from tests.scsi.answers import answers


def _wwid(data: bytes) -> Wwid | None:
    return logical_unit_wwid(vpd.decode_device_identification(data))


DESCRIPTOR_SENSE = bytes.fromhex(
    "72 03 11 00 00 00 00 1c 00 0a 80 00 00 00 00 01 00 00 12 34 02 06 00 00 80 12 34 00 03 02 00 00"
    "80 02 aa bb"
)
FIXED_SENSE = bytes.fromhex("f0 00 02 00 00 12 34 0a 00 00 00 00 04 01 00 80 40 00")
EXTENDED_GROUPS = bytes.fromhex("00 00 00 10 10 05 00 00 81 cf 00 02 00 00 00 01 00 00 00 03")

SAMPLES: dict[Callable[[bytes], object], list[bytes]] = {
    inquiry.decode_inquiry: [one.data for one in answers("inquiry")],
    vpd.decode_supported_pages: [one.data for one in answers("vpd_00")],
    vpd.decode_unit_serial_number: [one.data for one in answers("vpd_80")],
    vpd.decode_device_identification: [one.data for one in answers("vpd_83")],
    vpd.decode_block_limits: [one.data for one in answers("vpd_b0")],
    vpd.decode_block_device_characteristics: [one.data for one in answers("vpd_b1")],
    _wwid: [one.data for one in answers("vpd_83")],
    capacity.decode_read_capacity_10: [one.data for one in answers("capacity_10")],
    capacity.decode_read_capacity_16: [one.data for one in answers("capacity_16")],
    report_luns.decode_report_luns: [one.data for one in answers("luns")],
    target_port_groups.decode_target_port_groups: [
        *(
            one.data
            for one in answers("port_groups")
            if not one.where.startswith("lio.port_groups_e")
        ),
        EXTENDED_GROUPS,
    ],
    pr_in.decode_keys: [one.data for one in answers("keys") if "cut" not in one.where],
    pr_in.decode_reservation: [one.data for one in answers("reservation")],
    pr_in.decode_capabilities: [one.data for one in answers("capabilities")],
    pr_in.decode_full_status: [
        one.data for one in answers("full_status") if "cut" not in one.where
    ],
    sense.decode_sense: [
        *(one.data for one in answers("request_sense")),
        DESCRIPTOR_SENSE,
        FIXED_SENSE,
    ],
}
DECODERS = pytest.mark.parametrize("decode", SAMPLES, ids=lambda decode: decode.__name__)
CASES = [(decode, data) for decode, samples in SAMPLES.items() for data in samples]

MAY_BE_ABSENT = {"information", "key_specific"}
"""Fields of sense that are None when what they are in did not arrive."""


def agrees(part: object, whole: object) -> bool:
    """Whether each field is the whole answer's, or the first items of it, and a short list says so."""
    kind = type(whole)
    if type(part) is not kind:
        return False
    if not attrs.has(kind):
        return part == whole
    names = [field.name for field in attrs.fields(kind)]
    found, wanted = ({name: getattr(one, name) for name in names} for one in (part, whole))
    if "is_truncated" in found and part != whole and not found.pop("is_truncated"):
        return False
    return all(_is_start(name, value, wanted[name]) for name, value in found.items())


def _is_start(name: str, part: object, whole: object) -> bool:
    if isinstance(part, tuple) and isinstance(whole, tuple):
        return part == whole[: len(part)]
    return part == whole or (part is None and name in MAY_BE_ABSENT)


def test_every_decoder_has_samples() -> None:
    assert all(SAMPLES.values())


@DECODERS
def test_nothing_at_all_is_an_error(decode: Callable[[bytes], object]) -> None:
    with pytest.raises(DecodeError):
        decode(b"")


@pytest.mark.parametrize(("decode", "data"), CASES, ids=[f"{one[0].__name__}" for one in CASES])
def test_what_was_cut_off_is_refused_or_a_part_of_the_whole(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    whole = decode(data)
    for length in range(len(data)):
        try:
            part = decode(data[:length])
        except DecodeError:
            continue
        assert agrees(part, whole), f"{length} of {len(data)} bytes: {part} of {whole}"


@pytest.mark.parametrize(("decode", "data"), CASES, ids=[f"{one[0].__name__}" for one in CASES])
def test_what_follows_the_answer_is_not_read(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    assert decode(data + b"\xff" * 64) == decode(data)


def _outcome(decode: Callable[[bytes], object], data: bytes) -> str:
    """What a person would be shown; any other exception than DecodeError fails the test."""
    try:
        return str(decode(data))
    except DecodeError as error:
        return str(error)


@DECODERS
@given(data=st.binary(max_size=300))
def test_noise_is_refused_or_decoded(decode: Callable[[bytes], object], data: bytes) -> None:
    assert _outcome(decode, data).isprintable()


@DECODERS
@given(st.data())
def test_changed_answers_are_refused_or_decoded(
    decode: Callable[[bytes], object], data: st.DataObject
) -> None:
    changed = bytearray(data.draw(st.sampled_from(SAMPLES[decode])))
    changes = st.tuples(st.integers(0, len(changed) - 1), st.integers(0, 255))
    for offset, value in data.draw(st.lists(changes, min_size=1, max_size=6)):
        changed[offset] = value
    length = data.draw(st.integers(1, len(changed)))
    assert _outcome(decode, bytes(changed[:length])).isprintable()


@given(st.binary(max_size=80))
def test_a_transport_id_of_noise_has_a_printable_name_or_none(data: bytes) -> None:
    one = TransportId(data)
    assert one.raw == data
    assert str(one).isprintable()
    assert one.name is None or one.name


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (inquiry.decode_inquiry, "00 00 06 02 1e" + "00" * 31),
        (vpd.decode_device_identification, "00 80 00 00"),
        (vpd.decode_device_identification, "00 83 00 04 01 03 00 01"),
        (vpd.decode_block_limits, "00 b0 00 08 00 00 00 00 00 00 00 00"),
        (vpd.decode_block_device_characteristics, "00 b1 00 00"),
        (vpd.decode_unit_serial_number, "00 00 06 02 1f 00 00 00"),
        (capacity.decode_read_capacity_10, "00 00 00 00 00 00 00 00"),
        (capacity.decode_read_capacity_10, "00 00 00 ff 00 00 02 08"),
        (capacity.decode_read_capacity_10, "00 00 00 ff 00 02 00 00"),
        (capacity.decode_read_capacity_16, "ff ff ff ff ff ff ff ff 00 00 02 00 00 00 00 00"),
        (capacity.decode_read_capacity_16, "00 3f ff ff ff ff ff ff 00 00 02 00 00 00 00 00"),
        (pr_in.decode_keys, "00 00 00 01 00 00 00 0c" + "11" * 12),
        (pr_in.decode_reservation, "00 00 00 01 00 00 00 08" + "11" * 8),
        (pr_in.decode_reservation, "00 00 00 01 00 00 00 10" + "11" * 12 + "00 02 00 00"),
        (pr_in.decode_reservation, "00 00 00 01 00 00 00 10" + "11" * 12 + "00 f6 00 00"),
        (pr_in.decode_capabilities, "00 00 00 00 00 00 00 00"),
        (pr_in.decode_full_status, "00 00 00 01 00 00 00 10" + "11" * 16),
        (
            pr_in.decode_full_status,
            "00 00 00 01 00 00 00 18" + "11" * 8 + "00" * 12 + "00 00 00 01" + "00" * 8,
        ),
        (
            pr_in.decode_full_status,
            "00 00 00 01 00 00 00 18" + "11" * 8 + "00 00 00 00 01 02" + "00" * 10,
        ),
        (target_port_groups.decode_target_port_groups, "00 00 00 08 05 00 00 00 00 00 00 00"),
        (target_port_groups.decode_target_port_groups, "00 00 00 08 00 00 00 00 00 00 00 01"),
        (sense.decode_sense, "7f 00 05 00 00 00 00 0a 00 00 00 00 20 00 00 00 00 00"),
        (sense.decode_sense, "70 00 06 00 00 00 00 0a 00 00 00 00 2a"),
        (sense.decode_sense, "72 06 2a"),
    ],
)
def test_what_cannot_be_true_is_refused(decode: Callable[[bytes], object], data: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(data))


def test_the_largest_file_is_served_and_one_block_more_is_not() -> None:
    largest = bytes.fromhex("00 3f ff ff ff ff ff fe 00 00 02 00 00 00 00 00")
    assert capacity.decode_read_capacity_16(largest).size_bytes == (1 << 63) - 512


def test_an_extended_header_has_the_transition_time() -> None:
    ours = target_port_groups.decode_target_port_groups(EXTENDED_GROUPS)
    assert ours.transition_time_s == 5
    assert ours.groups == (
        target_port_groups.TargetPortGroup(
            group=2,
            state=target_port_groups.AccessState.ACTIVE_NON_OPTIMIZED,
            is_preferred=True,
            status_code=0,
            ports=(3,),
        ),
    )
    assert ours.state_of_port(3) is target_port_groups.AccessState.ACTIVE_NON_OPTIMIZED
    assert ours.state_of_port(4) is None


def test_rotation_rate_and_form_factor() -> None:
    decode = vpd.decode_block_device_characteristics
    disk = decode(bytes.fromhex("00 b1 00 04 1c 20 00 32"))
    assert (disk.rotation_rate, disk.is_rotating, disk.form_factor) == (7200, True, 2)
    flash = decode(bytes.fromhex("00 b1 00 04 00 01 00 03"))
    assert (flash.rotation_rate, flash.is_rotating, flash.form_factor) == (1, False, 3)
    silent = decode(bytes.fromhex("00 b1 00 03 00 00 00"))
    assert (silent.rotation_rate, silent.is_rotating, silent.form_factor) == (None, None, None)


@pytest.mark.parametrize(
    ("rate", "known"),
    [
        (0, False),
        (1, True),
        (2, False),
        (0x400, False),
        (0x401, True),
        (0xFFFE, True),
        (0xFFFF, False),
    ],
)
def test_reserved_rotation_rates_are_not_reported(rate: int, known: bool) -> None:  # noqa: FBT001
    page = bytes.fromhex("00 b1 00 04") + rate.to_bytes(2, "big") + bytes(2)
    assert (vpd.decode_block_device_characteristics(page).rotation_rate is not None) == known


def test_block_limits_of_a_long_page() -> None:
    page = bytearray.fromhex("00 b0 00 3c") + bytes(60)
    page[5], page[20:24], page[36:44] = 3, (7).to_bytes(4, "big"), (1 << 40).to_bytes(8, "big")
    ours = vpd.decode_block_limits(page)
    assert ours.maximum_compare_and_write_blocks == 3
    assert ours.maximum_unmap_blocks == 7
    assert ours.maximum_write_same_blocks == 1 << 40
    assert ours.maximum_transfer_blocks is None


def test_a_disk_that_is_not_there_is_no_disk() -> None:
    data = bytearray(answers("inquiry")[0].data)
    assert inquiry.decode_inquiry(data).is_connected_disk
    for peripheral in (0x20, 0x7F, 0x05, 0x0C):
        data[0] = peripheral
        assert not inquiry.decode_inquiry(data).is_connected_disk


def test_a_small_answer_claims_nothing_that_only_the_large_one_says() -> None:
    ours = capacity.decode_read_capacity_10(bytes.fromhex("00 00 00 ff 00 00 02 00"))
    assert ours == capacity.Capacity(
        last_lba=255,
        block_size_bytes=512,
        physical_exponent=0,
        lowest_aligned_lba=0,
        is_protected=False,
        is_provisioned=False,
        reads_zeros=False,
    )
    assert ours.physical_block_size_bytes == 512


def test_of_two_groups_the_one_with_the_port_has_its_state() -> None:
    first, second = "00 00 00 01 00 00 00 01 00 00 00 01", "02 00 00 02 00 00 00 01 00 00 00 02"
    ours = target_port_groups.decode_target_port_groups(bytes.fromhex("00000018" + first + second))
    assert ours.state_of_port(1) is target_port_groups.AccessState.ACTIVE_OPTIMIZED
    assert ours.state_of_port(2) is target_port_groups.AccessState.STANDBY
    assert ours.transition_time_s is None
