"""What the kernel says of sg nodes, from trees laid out as real ones (the lab compares with a real kernel's)."""

from pathlib import Path

import pytest

from mpio_fuse.device.sysfs import Attachment, SgNode, Sysfs
from mpio_fuse.scsi.identity import Wwid, WwidKind
from tests.device.trees import Trees


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def sysfs_of(trees: Trees) -> Sysfs:
    return Sysfs(trees.roots.sys)


def test_iscsi(trees: Trees) -> None:
    trees.scsi_device("sg3", "platform/host2/session7/target2:0:0", "2:0:0:1", disk="sdb")
    trees.file("sys/class/iscsi_session/session7/targetname", "iqn.example:array")
    trees.file("sys/class/iscsi_session/session7/initiatorname", "iqn.example:host-a")
    trees.file("sys/class/iscsi_connection/connection7:0/persistent_address", "10.0.0.1")
    trees.file("sys/class/iscsi_connection/connection7:0/persistent_port", "3260")
    ends = {
        "initiator": "iqn.example:host-a",
        "target": "iqn.example:array",
        "portal": "10.0.0.1:3260",
    }
    assert sysfs_of(trees).sg_node("sg3") == SgNode(
        name="sg3",
        address="2:0:0:1",
        vendor="LIO-ORG",
        product="disk0",
        device_type=0,
        block_device="sdb",
        attachment=Attachment("iscsi", ends),
    )


@pytest.mark.parametrize(
    ("address", "port", "portal"),
    [
        ("fe80::1", "3260", "[fe80::1]:3260"),
        ("10.0.0.1", "(null)", "10.0.0.1"),
        ("<NULL>", "3260", None),
    ],
)
def test_iscsi_portal(trees: Trees, address: str, port: str, portal: str | None) -> None:
    trees.scsi_device("sg0", "platform/host2/session1/target2:0:0", "2:0:0:1")
    trees.file("sys/class/iscsi_connection/connection1:0/persistent_address", address)
    trees.file("sys/class/iscsi_connection/connection1:0/persistent_port", port)
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.attachment.ends.get("portal") == portal


NAA = bytes.fromhex("60014050000000150000000000000001")


def test_the_kernel_s_copy_of_the_identity(trees: Trees) -> None:
    device = trees.scsi_device("sg0", "platform/host2/session1/target2:0:0", "2:0:0:1")
    trees.page_83(device, NAA)
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.wwid == Wwid(WwidKind.NAA, NAA)


@pytest.mark.parametrize(
    "page", [b"", b"\0\x83\0", b"\0\x83\xff\xff", b"\0\x83\0\0", b"\0\x80\0\0"]
)
def test_a_copy_that_tells_no_identity(trees: Trees, page: bytes) -> None:
    device = trees.scsi_device("sg0", "platform/host2/session1/target2:0:0", "2:0:0:1")
    (trees.root / device / "vpd_pg83").write_bytes(page)
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.wwid is None


def test_fibre_channel(trees: Trees) -> None:
    trees.scsi_device("sg0", "pci0/host4/rport-4:0-2/target4:0:0", "4:0:0:5")
    trees.file("sys/class/fc_host/host4/port_name", "0x10000000c9000001")
    trees.file("sys/class/fc_remote_ports/rport-4:0-2/port_name", "0x5006016000000002")
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.attachment == Attachment(
        "fc", {"initiator": "0x10000000c9000001", "target": "0x5006016000000002"}
    )


def test_sas(trees: Trees) -> None:
    trees.scsi_device("sg0", "pci0/host0/port-0:1/end_device-0:1/target0:0:1", "0:0:1:0")
    trees.file("sys/class/scsi_host/host0/host_sas_address", "0x500605b000000001")
    trees.file("sys/class/sas_device/end_device-0:1/sas_address", "0x5000c50000000002")
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.attachment == Attachment(
        "sas", {"initiator": "0x500605b000000001", "target": "0x5000c50000000002"}
    )


@pytest.mark.parametrize(
    ("driver", "kind"),
    [
        ("tcm_loopback", "tcm_loop"),
        ("scsi_debug", "scsi_debug"),
        ("ahci", "ahci"),
        (None, "unknown"),
    ],
)
def test_other_drivers(trees: Trees, driver: str | None, kind: str) -> None:
    trees.scsi_device("sg0", "tcm_loop_0/host5/target5:0:1", "5:0:1:1")
    if driver:
        trees.file("sys/class/scsi_host/host5/proc_name", driver)
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.attachment == Attachment(kind)


def test_no_disk_driver_and_an_unknown_type(trees: Trees) -> None:
    trees.scsi_device("sg0", "x/host0/target0:0:0", "0:0:0:0", kind="what?")
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert (node.block_device, node.device_type) == (None, None)


def test_names_in_order_of_number(trees: Trees) -> None:
    for number in (10, 2, 0):
        trees.scsi_device(f"sg{number}", "x/host0/target0:0:0", f"0:0:0:{number}")
    assert sysfs_of(trees).sg_names() == ["sg0", "sg2", "sg10"]
    assert sysfs_of(trees).sg_name_of_number(21, 10) == "sg10"
    assert sysfs_of(trees).sg_name_of_number(21, 1) is None


def test_nothing_there(trees: Trees) -> None:
    assert sysfs_of(trees).sg_names() == []
    assert sysfs_of(trees).sg_node("sg0") is None


@pytest.mark.parametrize("node", ["/dev/null", "/", "/no/such/node", "a\0b"])
def test_what_is_no_sg_node_has_no_name(trees: Trees, node: str) -> None:
    trees.scsi_device("sg3", "x/host0/target0:0:0", "0:0:0:0")
    assert sysfs_of(trees).sg_name_of(node) is None


def test_text_is_printable(trees: Trees) -> None:
    device = trees.scsi_device("sg0", "x/host0/target0:0:0", "0:0:0:0")
    trees.file(f"{device}/vendor", "EVIL\x1b[2J")
    node = sysfs_of(trees).sg_node("sg0")
    assert node is not None
    assert node.vendor == "EVIL?[2J"
