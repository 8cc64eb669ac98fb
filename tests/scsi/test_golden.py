"""Our decoders against sg3-utils', on the bytes real targets sent."""

import re

import pytest

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi import (
    block,
    capacity,
    inquiry,
    pr_in,
    pr_out,
    report_luns,
    sense,
    target_port_groups,
    vpd,
)
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.identity import logical_unit_wwid
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from tests.scsi.answers import Answer, answer, answers, sent_by_sg_persist

DISKS = ["lio", "tgt", "scsi_debug", "scsi_debug_descriptor", "scsi_debug_512e"]
SIZED = [*DISKS, "scsi_debug_4kn"]
ARRAYS = ["lio", "tgt"]
A, B = ReservationKey.parse("123abc"), ReservationKey.parse("0b0000000000123a")


@pytest.mark.parametrize("target", DISKS)
def test_standard_inquiry(target: str) -> None:
    golden = answer(target, "inquiry")
    ours = inquiry.decode_inquiry(golden.data)
    assert ours.is_connected_disk
    assert (ours.vendor, ours.product, ours.revision) == (
        golden.said("Vendor identification: (.*)"),
        golden.said("Product identification: (.*)"),
        golden.said("Product revision level: (.*)"),
    )
    assert ours.version == int(golden.said(r"version=(\w+)"), 16)
    assert ours.is_removable == (golden.said(r"RMB=(\d)") == "1")
    assert ours.tpgs == int(golden.said(r"TPGS=(\d)"))
    assert ours.has_third_party_copy == (golden.said(r"3PC=(\d)") == "1")
    assert ours.is_multi_port == (golden.said(r"MultiP=(\d)") == "1")
    assert ours.has_command_queuing == (golden.said(r"CmdQue=(\d)") == "1")
    assert ours.response_data_format == int(golden.said(r"Resp_data_format=(\d)"))


@pytest.mark.parametrize("target", DISKS)
def test_supported_pages(target: str) -> None:
    golden = answer(target, "vpd_00")
    ours = vpd.decode_supported_pages(golden.data)
    assert len(ours) == len(golden.text.strip().splitlines()) - 1
    assert set(vpd.VpdPage) <= ours


@pytest.mark.parametrize("target", DISKS)
def test_serial_number(target: str) -> None:
    golden = answer(target, "vpd_80")
    assert vpd.decode_unit_serial_number(golden.data) == golden.said("number: (.*)")


@pytest.mark.parametrize("target", DISKS)
def test_identity_is_the_naa_of_the_logical_unit(target: str) -> None:
    golden = answer(target, "vpd_83")
    wwid = logical_unit_wwid(vpd.decode_device_identification(golden.data))
    assert wwid is not None
    unit = golden.text.split("Target port:")[0]
    printed = re.findall(r"designator type: NAA,.*\n +0x(\w+)", unit)
    assert str(wwid) == f"naa.{max(printed)}"


def test_designators_of_lio() -> None:
    golden = answer("lio", "vpd_83")
    ours = vpd.decode_device_identification(golden.data)
    kinds = [one.type for one in ours]
    assert sorted(kinds) == [1, 3, 4, 5, 6, 8, 8]
    by_type = {one.type: one for one in ours}
    port = by_type[vpd.DesignatorType.RELATIVE_TARGET_PORT]
    assert port.port_number == int(golden.said(r"Relative target port: (\w+)"), 16)
    assert port.association is vpd.Association.TARGET_PORT
    assert port.protocol == 5
    group = by_type[vpd.DesignatorType.TARGET_PORT_GROUP]
    assert group.port_number == int(golden.said(r"Target port group: (\w+)"), 16)
    names = [one for one in ours if one.type == vpd.DesignatorType.SCSI_NAME]
    printed = golden.said_all(r"SCSI name string:\n +(\S+)")
    assert [one.designator.rstrip(b"\0").decode() for one in names] == printed


@pytest.mark.parametrize("target", DISKS)
def test_block_limits(target: str) -> None:
    golden = answer(target, "vpd_b0")
    ours = vpd.decode_block_limits(golden.data)
    assert (ours.optimal_granularity_blocks or 0) == int(golden.said(r"granularity: (\d+)"))
    assert (ours.maximum_transfer_blocks or 0) == int(
        golden.said(r"Maximum transfer length: (\d+)")
    )
    assert (ours.optimal_transfer_blocks or 0) == int(
        golden.said(r"Optimal transfer length: (\d+)")
    )
    compare = int(golden.said(r"compare and write length: (\d+)"))
    assert (ours.maximum_compare_and_write_blocks or 0) == compare


def test_block_limits_of_lio_end_before_unmap() -> None:
    ours = vpd.decode_block_limits(answer("lio", "vpd_b0").data)
    assert ours.maximum_transfer_blocks == 16384
    assert ours.maximum_unmap_blocks is None
    assert ours.maximum_write_same_blocks is None


@pytest.mark.parametrize("target", DISKS)
def test_block_device_characteristics(target: str) -> None:
    golden = answer(target, "vpd_b1")
    ours = vpd.decode_block_device_characteristics(golden.data)
    if "rotation rate is not reported" in golden.text:
        assert ours.is_rotating is None
    else:
        assert "Non-rotating medium" in golden.text
        assert ours.is_rotating is False


def _check_capacity(golden: Answer, ours: capacity.Capacity) -> None:
    assert ours.last_lba == int(golden.said(r"Last LBA=(\d+)"))
    assert ours.blocks == int(golden.said(r"Number of logical blocks=(\d+)"))
    assert ours.block_size_bytes == int(golden.said(r"Logical block length=(\d+)"))
    assert ours.size_bytes == int(golden.said(r"Device size: (\d+)"))


@pytest.mark.parametrize("target", SIZED)
def test_capacity_16(target: str) -> None:
    golden = answer(target, "capacity_16")
    ours = capacity.decode_read_capacity_16(golden.data)
    _check_capacity(golden, ours)
    assert ours.physical_exponent == int(golden.said(r"block exponent=(\d+)"))
    assert ours.lowest_aligned_lba == int(golden.said(r"Lowest aligned LBA=(\d+)"))
    assert ours.is_provisioned == (golden.said(r"lbpme=(\d)") == "1")
    assert ours.reads_zeros == (golden.said(r"lbprz=(\d)") == "1")
    assert ours.is_protected == (golden.said(r"prot_en=(\d)") == "1")


@pytest.mark.parametrize("target", SIZED)
def test_capacity_10(target: str) -> None:
    golden = answer(target, "capacity_10")
    ours = capacity.decode_read_capacity_10(golden.data)
    if "capacity too large" in golden.text:
        assert ours is None
    else:
        assert ours is not None
        _check_capacity(golden, ours)


def test_a_512e_disk_has_its_physical_block_size() -> None:
    ours = capacity.decode_read_capacity_16(answer("scsi_debug_512e", "capacity_16").data)
    assert (ours.block_size_bytes, ours.physical_block_size_bytes) == (512, 4096)
    assert ours.lowest_aligned_lba == 7


@pytest.mark.parametrize("target", DISKS)
def test_luns(target: str) -> None:
    golden = answer(target, "luns")
    ours = report_luns.decode_report_luns(golden.data)
    assert not ours.is_truncated
    assert [lun.raw.hex() for lun in ours.luns] == golden.said_all(r"(?m)^ +([0-9a-f]{16})$")
    assert [lun.number for lun in ours.luns] == list(range(len(ours.luns)))


@pytest.mark.parametrize("target", ["scsi_debug", "lio"])
def test_target_port_groups(target: str) -> None:
    golden = answer(target, "port_groups")
    ours = target_port_groups.decode_target_port_groups(golden.data)
    groups = [int(text, 16) for text in golden.said_all(r"port group id : (\w+)")]
    assert [one.group for one in ours.groups] == groups
    states = [int(text, 16) for text in golden.said_all(r"access state : (\w+)")]
    assert [one.state for one in ours.groups] == states
    preferred = [text == "1" for text in golden.said_all(r"Pref=(\d)")]
    assert [one.is_preferred for one in ours.groups] == preferred
    ports = [int(text, 16) for text in golden.said_all(r"(?m)^ {6}(0x\w+)$")]
    assert [port for one in ours.groups for port in one.ports] == ports


def test_scsi_debug_ignores_that_the_extended_header_was_asked_for() -> None:
    plain, extended = (answer("scsi_debug", f"port_groups{end}").data for end in ("", "_extended"))
    decode = target_port_groups.decode_target_port_groups
    assert decode(extended) == decode(plain)


def test_the_extended_header_of_lio_has_a_wrong_length() -> None:
    """It is four bytes short; sg_rtpg prints a relative target port 0 that does not exist."""
    golden = answer("lio", "port_groups_extended")
    assert golden.text.rstrip().endswith("0x00")
    with pytest.raises(DecodeError):
        target_port_groups.decode_target_port_groups(golden.data)


@pytest.mark.parametrize("target", ARRAYS)
@pytest.mark.parametrize("name", ["keys_none", "keys", "keys_after_move"])
def test_keys(target: str, name: str) -> None:
    golden = answer(target, name)
    ours = pr_in.decode_keys(golden.data)
    assert ours.generation == int(golden.said(r"generation=(\w+)"), 16)
    printed = golden.said_all(r"(?m)^ +(0x\w+)$")
    assert ours.keys == tuple(ReservationKey.parse(text) for text in printed)
    assert not ours.is_truncated


@pytest.mark.parametrize("target", ARRAYS)
@pytest.mark.parametrize("length", [8, 16, 20, 31])
def test_keys_cut_off_by_the_allocation_length(target: str, length: int) -> None:
    """Three are registered.  LIO leaves a zeroed piece behind the last whole key, tgt a piece of a key."""
    whole = pr_in.decode_keys(answer(target, "keys").data)
    cut = pr_in.decode_keys(answer(target, f"keys_cut_at_{length}").data)
    assert cut.keys == whole.keys[: (length - 8) // 8]
    assert cut.is_truncated
    assert cut.length_bytes == 8 + 3 * 8


@pytest.mark.parametrize("target", ARRAYS)
@pytest.mark.parametrize("name", ["reservation", "reservation_all_registrants"])
def test_reservation(target: str, name: str) -> None:
    golden = answer(target, name)
    ours = pr_in.decode_reservation(golden.data)
    assert ours.generation == int(golden.said(r"generation=(\w+)"), 16)
    assert ours.holder == ReservationKey.parse(golden.said(r"Key=(\w+)"))
    assert ours.type is not None
    assert ours.type.title == golden.said(r"type: (.*)")
    assert ours.scope is Scope.LOGICAL_UNIT


@pytest.mark.parametrize("target", ARRAYS)
def test_no_reservation(target: str) -> None:
    golden = answer(target, "reservation_none")
    assert "NO reservation" in golden.text
    assert not pr_in.decode_reservation(golden.data).is_held


@pytest.mark.parametrize("target", ARRAYS)
def test_capabilities(target: str) -> None:
    golden = answer(target, "capabilities")
    ours = pr_in.decode_capabilities(golden.data)
    for field, label in {
        "has_replace_lost_reservation": "RLR_C",
        "has_compatible_reservation_handling": "CRH",
        "has_spec_i_pt": "SIP_C",
        "has_all_tg_pt": "ATP_C",
        "has_persist_through_power_loss": "PTPL_C",
        "is_persist_through_power_loss_active": "PTPL_A",
    }.items():
        assert getattr(ours, field) == (golden.said(rf"\({label}\): (\d)") == "1"), field
    assert ours.allow_commands == int(golden.said(r"Allow Commands: (\d)"))
    assert ours.types is not None
    printed = golden.said_all(r"(?m)^ {6}(.*): 1$")
    assert sorted(one.title for one in ours.types) == sorted(printed)


def test_full_status() -> None:
    golden = answer("lio", "full_status")
    ours = pr_in.decode_full_status(golden.data)
    keys = [ReservationKey.parse(text) for text in golden.said_all(r"Key=(\w+)")]
    assert [one.key for one in ours.registrants] == keys == [A, A, B]
    assert [str(one.transport_id) for one in ours.registrants] == golden.said_all(r"port id: (\S+)")
    ports = [int(text, 16) for text in golden.said_all(r"Relative port address: (\w+)")]
    assert [one.relative_target_port for one in ours.registrants] == ports
    assert [one.is_holder for one in ours.registrants] == [True, False, False]
    assert [one.type for one in ours.registrants] == [
        PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
        None,
        None,
    ]
    assert not ours.is_truncated


def test_lio_hides_that_a_full_status_is_cut_off() -> None:
    """It shortens ADDITIONAL LENGTH to what fits, so nothing in the answer tells: ask for the most."""
    cut = pr_in.decode_full_status(answer("lio", "full_status_cut_at_100").data)
    assert len(cut.registrants) == 1
    assert not cut.is_truncated
    asked = pr_in.read_full_status()
    assert asked.data_in is not None
    assert len(asked.data_in) == pr_in.MAXIMUM_LENGTH_BYTES


@pytest.mark.parametrize("golden", answers("request_sense"), ids=lambda one: one.where)
def test_request_sense_with_nothing_to_say(golden: Answer) -> None:
    assert sense.decode_sense(golden.data) == sense.Sense(sense.SenseKey.NO_SENSE)


TYPE_6 = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
SENT = {
    ("lio", "inquiry"): inquiry.inquiry(),
    ("lio", "vpd_83"): inquiry.inquiry_vpd(0x83),
    ("lio", "capacity_16"): capacity.read_capacity_16(),
    ("lio", "vpd_b0"): inquiry.inquiry_vpd(vpd.VpdPage.BLOCK_LIMITS),
    ("lio", "luns"): report_luns.report_luns(),
    ("lio", "port_groups"): target_port_groups.report_target_port_groups(),
    ("lio", "port_groups_extended"): target_port_groups.report_target_port_groups(extended=True),
    ("lio", "capabilities"): pr_in.report_capabilities(),
    ("lio", "keys"): pr_in.read_keys(),
    ("lio", "reservation"): pr_in.read_reservation(),
    ("lio", "write_fua"): block.write(0, bytes(512), 512, fua=True),
    ("lio", "lba_out_of_range_16"): block.read(1 << 40, bytearray(512), 512),
    ("lio", "register"): pr_out.register(ZERO_KEY, A),
    ("lio", "preempt_and_abort"): pr_out.preempt_and_abort(B, A, TYPE_6),
    ("lio", "clear"): pr_out.clear(B),
}


@pytest.mark.parametrize(("where", "command"), SENT.items(), ids=[".".join(key) for key in SENT])
def test_what_the_targets_answered_is_what_we_send(
    where: tuple[str, str], command: Command
) -> None:
    golden = answer(*where)
    assert command.cdb == golden.cdb
    if golden.data_out:
        assert command.data_out == golden.data_out


def test_sg_persist_is_read_right() -> None:
    cdb, parameters = sent_by_sg_persist("register_spec_i_pt")
    assert len(cdb) == 10
    assert len(parameters) == int.from_bytes(cdb[5:9], "big") == 72


def test_codes_are_the_standards() -> None:
    """SPC-4 tables 279 and 608, typed here a second time."""
    states = target_port_groups.AccessState
    assert [state.value for state in states] == [0, 1, 2, 3, 4, 0xE, 0xF]
    assert [kind.value for kind in vpd.DesignatorType] == list(range(10))
    assert [kind.value for kind in vpd.Association] == [0, 1, 2, 3]
    assert [page.value for page in vpd.VpdPage] == [0x00, 0x80, 0x83, 0xB0, 0xB1]
    assert [key.value for key in sense.SenseKey] == list(range(16))
