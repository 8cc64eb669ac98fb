"""Compared natively: over one tgtd, or over nothing at all."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.bench.ground import Ground
from tests.bench.jobs import SIZE_BYTES
from tests.bench.stage import Stage, Subject
from tests.transport.tgtd import HOST, TARGET, Tgtd, free_port, running_tgtd

_INSTANT = (sys.executable, "-m", "tests.bench.serve_instant")


@attrs.define
class NativeStage(Stage):
    """With one target for all that want one.

    Each gets a disk of its own there, because a reservation of one would shut the others out.
    """

    tgtd: Tgtd
    second_port: int
    _disks: int = 0

    def disk(self) -> int:
        """The number of a new LUN."""
        self._disks += 1
        self.tgtd.add_disk(self._disks, size_bytes=SIZE_BYTES)
        return self._disks


@contextmanager
def _stage(directory: Path) -> Iterator[NativeStage]:
    target = directory / "tgtd"
    target.mkdir()
    with running_tgtd(target) as tgtd, ExitStack() as stack:
        second = free_port()
        tgtd.admin("portal", "new", "--param", f"portal={HOST}:{second}")
        yield NativeStage(directory, stack, tgtd, second)


# ---- the subjects


def _one_underpath(stage: NativeStage) -> Subject:
    return stage.mount("mpio-fuse, 1 underpath", stage.tgtd.url(stage.disk()))


def _two_underpaths(stage: NativeStage) -> Subject:
    lun = stage.disk()
    second = f"iscsi://{HOST}:{stage.second_port}/{TARGET}/{lun}"
    return stage.mount("mpio-fuse, 2 underpaths", stage.tgtd.url(lun), second)


def _instant(stage: NativeStage) -> Subject:
    return stage.mount("mpio-fuse, instant", program=_INSTANT)


def _qemu_iscsi(stage: NativeStage) -> Subject:
    where = f"portal={stage.tgtd.portal},target={TARGET},lun={stage.disk()}"
    who = "initiator-name=iqn.2026-01.test:qemu"
    return stage.export("qemu, iscsi", "driver=iscsi,transport=tcp", where, who)


def _qemu_null(stage: NativeStage) -> Subject:
    return stage.export("qemu, null-co", f"driver=null-co,size={SIZE_BYTES}")


def _nbdfuse(stage: NativeStage) -> Subject:
    name = "nbdfuse, nbdkit null"
    place, socket = stage.place(name), stage.directory / "nbd.sock"
    server = ["nbdkit", "--foreground", "--unix", str(socket), "null", f"size={SIZE_BYTES}"]
    nbdkit = stage.start(f"{name}, server", server)
    stage.wait(f"{name}, server", nbdkit, socket.exists)
    nbdfuse = stage.start(name, ["nbdfuse", f"{place}/disk", "--unix", str(socket)])
    stage.wait(name, nbdfuse, place.is_mount)
    return Subject(name, place / "disk", (nbdkit, nbdfuse))


NATIVE = Ground(
    subjects={
        "a": _one_underpath,
        "b": _two_underpaths,
        "c": _qemu_iscsi,
        "d": _instant,
        "e": _qemu_null,
        "f": _nbdfuse,
    },
    pairs=[("a", "c"), ("b", "c"), ("d", "e"), ("f", "e"), ("b", "a")],
    stage=_stage,
)
"""Each with who works over the same target, or over nothing too."""
