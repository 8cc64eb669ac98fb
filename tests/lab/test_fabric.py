"""A fabric: what is built is what was described, and a reset undoes what a test did."""

import pytest

from tests.lab.fabric import Fabric, FabricReport, LunSpec, Node
from tests.lab.lab import Lab


def test_descriptions_and_reports_survive_json() -> None:
    fabric = Fabric.of(kind="tgt", hosts=1, underpaths=1, luns=2, block_size_bytes=4096)
    node = Node("a", 0, 1, "/dev/sg0", "/dev/sda", "0:0:0:1", "iscsi", "iqn.x", "127.0.0.1:3260")
    report = FabricReport(fabric, (node,))
    assert Fabric.from_json(fabric.to_json()) == fabric
    assert FabricReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "bad", [{"kind": "fc"}, {"hosts": 0}, {"underpaths": 0}, {"size_bytes": 1}]
)
def test_a_fabric_that_cannot_be_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Fabric.of(**bad)  # type: ignore[arg-type] # that is the point


def test_there_is_no_lun_0() -> None:
    with pytest.raises(ValueError, match="number"):
        LunSpec(0)


def _identity(lab: Lab, node: str) -> str:
    """The NAA designator of a node, as sg3-utils reads it."""
    pages = lab.run(["sg_inq", "--page=0x83", "--export", node]).check().stdout
    return next(line for line in pages.splitlines() if line.startswith("SCSI_IDENT_LUN_NAA"))


@pytest.mark.fabric(kind="iscsi", luns=2)
def test_every_node_of_a_lun_is_that_lun(lab: Lab) -> None:
    identities = {
        lun: {_identity(lab, node.sg) for node in lab.report.select(lun=lun)} for lun in (1, 2)
    }
    assert [len(found) for found in identities.values()] == [1, 1]
    assert identities[1] != identities[2]


@pytest.mark.fabric(kind="iscsi", luns=2)
def test_every_node_is_the_nexus_it_is_said_to_be(lab: Lab) -> None:
    nodes = lab.report.select(lun=1)
    for key, node in enumerate(nodes, 1):
        lab.run(f"sg_persist -n --out --register --param-sark={key} {node.sg}").check()
    status = lab.run(["sg_persist", "-n", "--in", "--read-full-status", nodes[0].sg]).check().stdout
    for key, node in enumerate(nodes, 1):
        registrant = status.split(f"Key=0x{key}\n")[1].split("Key=")[0]
        assert node.initiator in registrant
        assert f"Relative port address: 0x{node.underpath + 1}" in registrant


@pytest.mark.fabric(kind="loop", hosts=1, underpaths=1, block_size_bytes=4096, size_bytes=32 << 20)
def test_size_and_block_size_are_as_described(lab: Lab) -> None:
    block = lab.blocks("a")[0]
    sizes = lab.run(["blockdev", "--getss", "--getsize64", block]).check().stdout
    assert sizes.split() == ["4096", str(32 << 20)]


@pytest.mark.fabric(kind="loop", hosts=1, underpaths=1)
def test_commands_know_their_hosts_nodes(lab: Lab) -> None:
    result = lab.run(
        "echo $A_NODES; python -c \"import json, os; json.load(open(os.environ['LAB_FABRIC']))\""
    )
    assert result.check().stdout.split() == lab.nodes("a")


MESS = """
for node in $A_NODES; do
    sg_persist -n --out --register --param-sark=a $node
done
set -- $A_NODES
sg_persist -n --out --reserve --param-rk=a --prout-type=6 $1
mkdir /tmp/left && mount -t tmpfs left /tmp/left && touch /tmp/left/file
setsid sleep 4321 >/dev/null 2>&1 &
"""
LOOK = """
for node in $A_NODES $B_NODES; do
    sg_turs $node || echo not ready
    sg_persist -n --in --read-keys $node
done
pgrep -af 'sleep [4]321'
grep left /proc/mounts
"""


def _assert_clean(lab: Lab) -> None:
    lines = lab.run(LOOK).stdout.splitlines()
    nodes = [*lab.nodes("a"), *lab.nodes("b")]
    assert len(lines) == len(nodes), lines
    assert all("NO registered reservation keys" in line for line in lines), lines


def _in_tmp(lab: Lab) -> list[str]:
    """What /tmp contains: nothing, except in a checkout that lies below it, which is mounted there."""
    return lab.run("ls -A /tmp").check().stdout.splitlines()


def test_a_reset_leaves_nothing_of_a_test(lab_of_each_kind: Lab) -> None:
    lab = lab_of_each_kind
    in_tmp = _in_tmp(lab)
    lab.run(MESS).check()
    lab.reset()
    _assert_clean(lab)
    assert _in_tmp(lab) == in_tmp


def test_a_reset_ends_a_scsi_2_reservation(lab_of_each_kind: Lab) -> None:
    lab = lab_of_each_kind
    lab.run(["sg_raw", lab.nodes("b")[1], "16", "00", "00", "00", "00", "00"]).check()
    assert lab.run(["sg_turs", lab.nodes("a")[0]]).status != 0
    lab.reset()
    _assert_clean(lab)


@pytest.fixture(
    params=[
        pytest.param(kind, marks=pytest.mark.fabric(kind=kind)) for kind in ("loop", "iscsi", "tgt")
    ]
)
def lab_of_each_kind(lab: Lab) -> Lab:
    return lab


@pytest.mark.fabric(kind="iscsi")
def test_a_disk_that_was_deleted_comes_back(lab: Lab) -> None:
    before = lab.report
    for node in lab.nodes("a"):
        device = f"/sys/class/scsi_generic/{node.removeprefix('/dev/')}/device"
        lab.run(f"echo 1 >{device}/delete").check()
    lab.reset()
    assert [node.hctl for node in lab.report.nodes] == [node.hctl for node in before.nodes]
    for node in lab.nodes("a"):
        lab.run(["sg_turs", node]).check()
