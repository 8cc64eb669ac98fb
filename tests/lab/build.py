"""Runs in the guest: builds a fabric and writes its report (``python -m tests.lab.build FABRIC.json REPORT.json``)."""

import sys
from pathlib import Path

from tests.lab import sysfs
from tests.lab.fabric import Fabric, FabricKind, FabricReport, Node

# With what tests want on top of the disks, so that no test has to load a module.
DISK_DRIVERS = ("sg", "sd_mod", "loop", "fuse")


def build(fabric: Fabric) -> list[Node]:
    """Build ``fabric`` in this machine's kernel and give its nodes."""
    # Each kind's module is imported only when asked for: importing is a good part of the time this takes.
    match fabric.kind:
        case FabricKind.ISCSI:
            from tests.lab import initiator, lio

            lio.load(*DISK_DRIVERS, "iscsi_target_mod", "iscsi_tcp")
            lio.build_iscsi(fabric)
            return initiator.log_in(fabric)
        case FabricKind.LOOP:
            from tests.lab import lio

            lio.load(*DISK_DRIVERS, "tcm_loop")
            return lio.build_loop(fabric)
        case FabricKind.TGT:
            from tests.lab import initiator, tgt

            sysfs.load(*DISK_DRIVERS, "iscsi_tcp")
            tgt.build(fabric)
            return initiator.log_in(fabric)
        case FabricKind.SCSI_DEBUG:
            from tests.lab import scsi_debug

            sysfs.load(*DISK_DRIVERS)
            return scsi_debug.build(fabric)


def main() -> None:
    """Build the fabric of the first argument, report it in the second."""
    description, report = map(Path, sys.argv[1:])
    fabric = Fabric.from_json(description.read_text())
    nodes = sorted(build(fabric), key=lambda node: (node.host, node.lun, node.underpath))
    expected = fabric.hosts * fabric.underpaths * len(fabric.luns)
    if len(nodes) != expected:
        sys.exit(f"built {len(nodes)} underpaths instead of {expected}: {nodes}")
    report.write_text(FabricReport(fabric, tuple(nodes)).to_json())


if __name__ == "__main__":
    main()
