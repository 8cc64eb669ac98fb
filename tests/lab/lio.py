"""Runs in the guest: the kernel's target LIO, through rtslib."""

import itertools
import subprocess
from pathlib import Path

import rtslib_fb as rtslib

from tests.lab import sysfs
from tests.lab.fabric import TARGET_NAME, Fabric, LunSpec, Node
from tests.lab.initiator import initiator_name, portal_address

MODULES = ("target_core_mod", "target_core_file", "target_core_iblock")
CONFIGFS = Path("/sys/kernel/config")
LUN_DIRECTORY = Path("/dev/shm/lab")  # noqa: S108 (the guest's own)
# Without its directory LIO answers REGISTER with NOT READY, and registers all the same.
APTPL_DIRECTORIES = (Path("/var/target/pr"), Path("/etc/target/pr"))

Disks = dict[int, rtslib.FileIOStorageObject]


def _make_disk(spec: LunSpec) -> rtslib.FileIOStorageObject:
    backing = LUN_DIRECTORY / spec.name
    with backing.open("ab") as file:  # a target that is built again finds what was written to it
        file.truncate(spec.size_bytes)
    disk = rtslib.FileIOStorageObject(
        spec.name, str(backing), spec.size_bytes, wwn=spec.serial, write_back=True
    )
    if spec.block_size_bytes != 512:
        disk.set_attribute("block_size", str(spec.block_size_bytes))
    return disk


def load(*fabric_modules: str) -> None:
    """Make the kernel ready for ``build_iscsi`` or ``build_loop``."""
    for directory in (LUN_DIRECTORY, *APTPL_DIRECTORIES):
        directory.mkdir(parents=True, exist_ok=True)
    sysfs.load(*MODULES, *fabric_modules)
    # rtslib 2.2 does this itself, at a path it forgot to fill in.
    if not CONFIGFS.is_mount():
        subprocess.run(["mount", "-t", "configfs", "configfs", str(CONFIGFS)], check=True)
    rtslib.RTSRoot()


def make_disks(fabric: Fabric) -> Disks:
    """Make the LUNs, which nobody is offered yet."""
    return {spec.number: _make_disk(spec) for spec in fabric.luns}


# iSCSI ---------------------------------------------------------------------------------------------------------


def _make_portal_group(target: rtslib.Target, underpath: int, fabric: Fabric, disks: Disks) -> None:
    # A group of its own for each network: within one group LIO takes one initiator's second session, having another
    # ISID, for an unregistered nexus.
    group = rtslib.TPG(target, underpath + 1, mode="create")
    group.set_attribute("authentication", "0")
    group.set_attribute("demo_mode_write_protect", "0")
    luns = {number: rtslib.LUN(group, number, disk) for number, disk in disks.items()}
    for host in fabric.host_names:
        access = rtslib.NodeACL(group, initiator_name(host), mode="create")
        for number, lun in luns.items():
            rtslib.MappedLUN(access, number, lun)
    rtslib.NetworkPortal(group, portal_address(underpath), mode="create")
    group.enable = True


def build_iscsi(fabric: Fabric) -> None:
    """Make the LUNs, and offer them to every host in one target with a portal group a network."""
    offer_iscsi(fabric, make_disks(fabric))


def offer_iscsi(fabric: Fabric, disks: Disks) -> None:
    """Offer LUNs as ``build_iscsi`` does."""
    target = rtslib.Target(rtslib.FabricModule("iscsi"), TARGET_NAME, mode="create")
    for underpath in range(fabric.underpaths):
        _make_portal_group(target, underpath, fabric, disks)


# tcm_loop ------------------------------------------------------------------------------------------------------


def _make_loop(number: int, disks: Disks) -> tuple[int, str]:
    """Make one loopback target, which is one SCSI host of the kernel; give that host's number and the initiator."""
    target = rtslib.Target(
        rtslib.FabricModule("loopback"), f"naa.5001405{number:09x}", mode="create"
    )
    group = rtslib.TPG(target, 1, mode="create")
    for lun, disk in disks.items():
        rtslib.LUN(group, lun, disk)
    # rtslib does not give this file, the only link between a loopback target and its SCSI host: "HOST:0:TAG".
    address = (Path(group.path) / "address").read_text()
    return int(address.split(":")[0]), group.nexus


def build_loop(fabric: Fabric) -> list[Node]:
    """Make one loopback target a nexus, and give the nodes that come of it."""
    disks = make_disks(fabric)
    nexuses = {}
    ends = itertools.product(fabric.host_names, range(fabric.underpaths))
    for number, (host, underpath) in enumerate(ends):
        scsi_host, initiator = _make_loop(number, disks)
        nexuses[scsi_host] = (host, underpath, initiator)
    found = sysfs.wait_for_disks(len(nexuses) * len(disks))
    return [_loop_node(disk, *nexuses[disk.host_number]) for disk in found]


def _loop_node(disk: sysfs.Disk, host: str, underpath: int, initiator: str) -> Node:
    return Node(
        host, underpath, disk.lun, disk.sg, disk.block, disk.hctl, "loop", initiator, portal=""
    )
