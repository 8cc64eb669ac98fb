"""Runs in the guest: the kernel's scsi_debug, one simulated SCSI host an underpath, all showing the same disks."""

import subprocess

from tests.lab import sysfs
from tests.lab.fabric import MIB, Fabric, Node

# scsi_debug numbers its LUNs from 0; the fabric's start at 1.
LUN_OFFSET = 1


def build(fabric: Fabric) -> list[Node]:
    """Load scsi_debug as ``fabric`` says; all its LUNs have the size of the first."""
    first = fabric.luns[0]
    options = {
        # The identity does not contain the SCSI host's number: the same disk on every host.
        "vpd_use_hostno": 0,
        "add_host": fabric.hosts * fabric.underpaths,
        "max_luns": len(fabric.luns),
        "dev_size_mb": first.size_bytes // MIB,
        "sector_size": first.block_size_bytes,
        "delay": 0,
    }
    command = ["modprobe", "scsi_debug", *(f"{name}={value}" for name, value in options.items())]
    subprocess.run(command, check=True)
    found = sysfs.wait_for_disks(fabric.hosts * fabric.underpaths * len(fabric.luns))
    return [_node(disk, fabric) for disk in found]


def _node(disk: sysfs.Disk, fabric: Fabric) -> Node:
    host, underpath = divmod(disk.ancestor_number("adapter"), fabric.underpaths)
    return Node(
        fabric.host_names[host], underpath, disk.lun + LUN_OFFSET, disk.sg, disk.block, disk.hctl,
        "scsi_debug", initiator="", portal="",
    )  # fmt: skip
