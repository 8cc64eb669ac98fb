"""Where subjects are set up: each shows one disk as a file, by processes of its own, whose CPU time is counted."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0
KEY = "0xbe7c4"

MPIO_FUSE = (sys.executable, "-m", "mpio_fuse.cli.main")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Process = subprocess.Popen[bytes]


@attrs.frozen
class Subject:
    """One that is measured, ready to be.  Without processes it is the kernel's work, which is not counted."""

    name: str
    file: Path
    processes: tuple[Process, ...] = ()

    def cpu_s(self) -> float:
        """User and system time of its processes so far, all threads."""
        return sum(_cpu_s(process.pid) for process in self.processes)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@attrs.define
class Stage:
    """A directory, and processes that end when the stack is unwound."""

    directory: Path
    stack: ExitStack

    def place(self, name: str) -> Path:
        """A directory of its own, without the commas that qemu's options cannot bear."""
        made = self.directory / name.translate({ord(" "): "-", ord(","): None, ord("/"): "-"})
        made.mkdir()
        return made

    def start(self, name: str, words: Sequence[str]) -> Process:
        """Run a process until the stage is left."""
        # The control sockets of our daemons: not among those of the machine's own.
        environment = {**os.environ, "MPIO_FUSE_RUN_DIR": str(self.directory / "run")}
        return self.stack.enter_context(_running(words, self._log(name), environment))

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

    def mount(self, name: str, *nodes: str, program: Sequence[str] = MPIO_FUSE) -> Subject:
        """An mpio-fuse mount of one LUN."""
        mountpoint = self.place(name)
        words = [*program, "mount", str(mountpoint), "--foreground", "--key", KEY, *nodes]
        process = self.start(name, words)
        self.wait(name, process, mountpoint.is_mount)
        return Subject(name, next(mountpoint.iterdir()), (process,))

    def export(self, name: str, *blockdev: str) -> Subject:
        """A file that qemu-storage-daemon puts its export on; until then it is empty."""
        file = self.place(name) / "disk"
        file.touch()
        words = ["qemu-storage-daemon", "--blockdev", ",".join([*blockdev, "node-name=disk"])]
        export = f"type=fuse,id=export,node-name=disk,mountpoint={file},writable=on,allow-other=off"
        process = self.start(name, [*words, "--export", export])
        self.wait(name, process, lambda: file.stat().st_size > 0)
        return Subject(name, file, (process,))

    def _log(self, name: str) -> Path:
        return self.directory / f"{name.replace('/', '-')}.log"


@contextmanager
def _running(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
