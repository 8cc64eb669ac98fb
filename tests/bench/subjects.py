"""What is compared: each shows one disk as a file, by processes of its own, whose CPU time is counted."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import attrs

from tests.bench.serve_instant import SIZE_BYTES
from tests.transport.tgtd import HOST, TARGET, Tgtd, free_port, running_tgtd

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0
KEY = "0xbe7c4"

_MPIO_FUSE = (sys.executable, "-m", "mpio_fuse.cli.main")
_INSTANT = (sys.executable, "-m", "tests.bench.serve_instant")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Process = subprocess.Popen[bytes]


@attrs.frozen
class Subject:
    """One that is measured, ready to be."""

    name: str
    file: Path
    processes: tuple[Process, ...]

    def cpu_s(self) -> float:
        """User and system time of its processes so far, all threads."""
        return sum(_cpu_s(process.pid) for process in self.processes)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@attrs.define
class Stage:
    """Where subjects are set up: a directory, and one target for all that want one.

    Each gets a disk of its own there, because a reservation of one would shut the others out.
    """

    directory: Path
    tgtd: Tgtd
    second_port: int
    _stack: ExitStack
    _disks: int = 0

    def disk(self) -> int:
        """The number of a new LUN."""
        self._disks += 1
        self.tgtd.add_disk(self._disks, size_bytes=SIZE_BYTES)
        return self._disks

    def place(self, name: str) -> Path:
        """A directory of its own, without the commas that qemu's options cannot bear."""
        made = self.directory / name.replace(", ", "-").replace(" ", "-")
        made.mkdir()
        return made

    def start(self, name: str, words: Sequence[str]) -> Process:
        """Run a process until the stage is left."""
        return self._stack.enter_context(_running(words, self._log(name)))

    def wait(self, name: str, process: Process, is_ready: Callable[[], bool]) -> None:
        """Wait until it serves.

        Raises:
            RuntimeError: it ended, or takes too long; with what it said.
        """
        end_s = time.monotonic() + START_LIMIT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"{name} did not start: {self._log(name).read_text()}")
            time.sleep(0.05)

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


@contextmanager
def _running(words: Sequence[str], log: Path) -> Iterator[Process]:
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """A stage in an empty directory; whatever was started on it has ended afterwards.

    The control sockets of the daemons are in the directory, too.
    """
    os.environ["MPIO_FUSE_RUN_DIR"] = str(directory / "run")
    target = directory / "tgtd"
    target.mkdir()
    with running_tgtd(target) as tgtd, ExitStack() as stack:
        second = free_port()
        tgtd.admin("portal", "new", "--param", f"portal={HOST}:{second}")
        yield Stage(directory, tgtd, second, stack)


# ---- the subjects


def _mount(stage: Stage, name: str, program: Sequence[str], *nodes: str) -> Subject:
    """An mpio-fuse mount of one LUN."""
    mountpoint = stage.place(name)
    words = [*program, "mount", str(mountpoint), "--foreground", "--key", KEY, *nodes]
    process = stage.start(name, words)
    stage.wait(name, process, mountpoint.is_mount)
    return Subject(name, next(mountpoint.iterdir()), (process,))


def _one_underpath(stage: Stage) -> Subject:
    return _mount(stage, "mpio-fuse, 1 underpath", _MPIO_FUSE, stage.tgtd.url(stage.disk()))


def _two_underpaths(stage: Stage) -> Subject:
    lun = stage.disk()
    second = f"iscsi://{HOST}:{stage.second_port}/{TARGET}/{lun}"
    name = "mpio-fuse, 2 underpaths"
    return _mount(stage, name, _MPIO_FUSE, stage.tgtd.url(lun), second)


def _instant(stage: Stage) -> Subject:
    return _mount(stage, "mpio-fuse, instant", _INSTANT)


def _qemu(stage: Stage, name: str, *blockdev: str) -> Subject:
    """A file that qemu-storage-daemon puts its export on; until then it is empty."""
    file = stage.place(name) / "disk"
    file.touch()
    words = ["qemu-storage-daemon", "--blockdev", ",".join([*blockdev, "node-name=disk"])]
    export = f"type=fuse,id=export,node-name=disk,mountpoint={file},writable=on,allow-other=off"
    process = stage.start(name, [*words, "--export", export])
    stage.wait(name, process, lambda: file.stat().st_size == SIZE_BYTES)
    return Subject(name, file, (process,))


def _qemu_iscsi(stage: Stage) -> Subject:
    where = f"portal={stage.tgtd.portal},target={TARGET},lun={stage.disk()}"
    who = "initiator-name=iqn.2026-01.test:qemu"
    return _qemu(stage, "qemu, iscsi", "driver=iscsi,transport=tcp", where, who)


def _qemu_null(stage: Stage) -> Subject:
    return _qemu(stage, "qemu, null-co", f"driver=null-co,size={SIZE_BYTES}")


def _nbdfuse(stage: Stage) -> Subject:
    name = "nbdfuse, nbdkit null"
    place, socket = stage.place(name), stage.directory / "nbd.sock"
    server = ["nbdkit", "--foreground", "--unix", str(socket), "null", f"size={SIZE_BYTES}"]
    nbdkit = stage.start(f"{name}, server", server)
    stage.wait(f"{name}, server", nbdkit, socket.exists)
    nbdfuse = stage.start(name, ["nbdfuse", f"{place}/disk", "--unix", str(socket)])
    stage.wait(name, nbdfuse, place.is_mount)
    return Subject(name, place / "disk", (nbdkit, nbdfuse))


SUBJECTS: Mapping[str, Callable[[Stage], Subject]] = MappingProxyType(
    {
        "a": _one_underpath,
        "b": _two_underpaths,
        "c": _qemu_iscsi,
        "d": _instant,
        "e": _qemu_null,
        "f": _nbdfuse,
    }
)
"""By the letters that tables and options call them."""

RIVALS: Mapping[str, str] = MappingProxyType({"a": "c", "b": "c", "d": "e", "f": "e"})
"""Whom each is compared with: over the same target, or over nothing."""
