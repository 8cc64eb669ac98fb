"""Compared in a lab's guest (tests/lab): over the kernel's own SCSI nodes, through sg, sd or dm-multipath.

Theory of operation
-------------------
Every subject has a LUN of its own with two underpaths, all backed by files in memory, which is written to once before:
a page's first write makes the guest and the machine find memory for it, and whoever came first would pay for that.

dm-multipath needs udev, which runs programs whenever somebody who had a disk open for writing closes it: on the
guest's one CPU, that would be while the next subject is measured, always the same one.  So once the multipath device
is there, udevd is told to execute no more events.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.bench.ground import Ground
from tests.bench.jobs import MIB, SIZE_BYTES
from tests.bench.stage import Stage, Subject
from tests.lab.fabric import Fabric, FabricReport, Node
from tests.lab.prerequisites import require
from tests.reliability.command import run
from tests.reliability.systems import UDEVD, DmMultipath

REPORT = "LAB_FABRIC"
"""The environment variable that is there in a lab's guest, and only there."""

_PROGRAMS = ("fio", "dmsetup", "multipathd", "udevadm", UDEVD)


@attrs.define
class GuestStage(Stage):
    """With the LUNs of the lab's fabric."""

    report: FabricReport
    _luns: int = 0

    def lun(self) -> list[Node]:
        """The nodes of a LUN that nobody else has."""
        self._luns += 1
        nodes = self.report.select("a", self._luns)
        _fill(nodes[0].block)
        return nodes


def fabric(kind: str) -> Fabric:
    """What the subjects need."""
    return Fabric.of(
        kind=kind, hosts=1, underpaths=2, luns=len(GUEST.subjects), size_bytes=SIZE_BYTES
    )


@contextmanager
def _stage(directory: Path) -> Iterator[GuestStage]:
    require(_PROGRAMS)
    report = FabricReport.from_json(Path(os.environ[REPORT]).read_text(encoding="utf-8"))
    wanted = fabric(report.fabric.kind)
    if report.fabric != wanted:
        raise RuntimeError(f"this lab is {report.fabric} instead of {wanted}")
    with ExitStack() as stack:
        yield GuestStage(directory, stack, report)


def _fill(block_device: str) -> None:
    blocks = ("bs=1M", f"count={SIZE_BYTES // MIB}")
    run("dd", "if=/dev/zero", f"of={block_device}", *blocks, "oflag=direct")


# ---- the subjects


def _one_underpath(stage: GuestStage) -> Subject:
    return stage.mount("mpio-fuse, 1 sg", stage.lun()[0].sg)


def _two_underpaths(stage: GuestStage) -> Subject:
    return stage.mount("mpio-fuse, 2 sg", *(node.sg for node in stage.lun()))


def _qemu(stage: GuestStage) -> Subject:
    # Of qemu's three ways aio=native is the fastest here, before io_uring and threads.
    how = "driver=host_device,aio=native,cache.direct=on"
    return stage.export("qemu, sd", how, f"filename={stage.lun()[0].block}")


def _dm_multipath(stage: GuestStage) -> Subject:
    system = DmMultipath()
    stage.stack.callback(system.stop)
    file = system.start(stage.lun())
    run("udevadm", "settle", "--timeout=20")
    run("udevadm", "control", "--stop-exec-queue")
    return Subject("dm-multipath, 2 sd", Path(file))


def _disk(stage: GuestStage) -> Subject:
    return Subject("sd itself", Path(stage.lun()[0].block))


GUEST = Ground(
    subjects={
        "s": _one_underpath,
        "t": _two_underpaths,
        "q": _qemu,
        "m": _dm_multipath,
        "k": _disk,
    },
    pairs=[("s", "q"), ("t", "m"), ("q", "k"), ("m", "k"), ("s", "k"), ("t", "q"), ("t", "s")],
    stage=_stage,
)
"""``k``, the disk without anybody between, is what nobody can be faster than."""
