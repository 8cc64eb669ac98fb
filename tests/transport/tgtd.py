"""A tgtd of the tests' own: an iSCSI target in user space, as an ordinary process on loopback.

It has a control socket and a port that nobody else uses, and tells by sd_notify(3) when it is ready.  It ignores
SIGTERM, so it is killed, by its own process ID.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

HOST = "127.0.0.1"
TARGET = "iqn.2026-01.test:disks"
START_LIMIT_S = 20.0
ATTEMPTS = 5
DISK_BYTES = 64 << 20


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@attrs.define
class Tgtd:
    """A running tgtd.  ``directory`` is its own: its control socket and its disks are there."""

    directory: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def portal(self) -> str:
        return f"{HOST}:{self.port}"

    def url(self, lun: int = 1, target: str = TARGET) -> str:
        return f"iscsi://{self.portal}/{target}/{lun}"

    def start(self, port: int | None = None) -> None:
        """Run it; on the port it had before, if that is given."""
        for _ in range(ATTEMPTS):
            self.port = port or free_port()
            if self._started():
                return
        raise RuntimeError("tgtd does not start: " + (self.directory / "log").read_text())

    def _started(self) -> bool:
        told = self.directory / "ready"
        told.unlink(missing_ok=True)
        words = ["tgtd", "-f", "-C", "1", "--iscsi", f"portal={self.portal}"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self._log() as log:
            ready.bind(str(told))
            ready.settimeout(0.1)
            environment = self._environment() | {"NOTIFY_SOCKET": str(told)}
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
            for _ in range(int(START_LIMIT_S / 0.1)):
                try:
                    return b"READY=1" in ready.recv(200) and self.process.poll() is None
                except TimeoutError:
                    if self.process.poll() is not None:
                        return False
        self.kill()
        return False

    def _log(self) -> BinaryIO:
        return (self.directory / "log").open("ab")

    def _environment(self) -> dict[str, str]:
        return os.environ | {"TGT_IPC_SOCKET": str(self.directory / "control")}

    def admin(self, mode: str, operation: str, *words: str) -> str:
        """Run tgtadm; what it prints."""
        command = ["tgtadm", "-C", "1", "--lld", "iscsi", "--mode", mode, "--op", operation, *words]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=self._environment()
        )
        return done.stdout

    def add_target(self, tid: int = 1, name: str = TARGET) -> None:
        """A target that lets everybody in, without a disk."""
        self.admin("target", "new", "--tid", str(tid), "-T", name)
        self.admin("target", "bind", "--tid", str(tid), "-I", "ALL")

    def add_disk(self, lun: int, tid: int = 1, size_bytes: int = DISK_BYTES) -> Path:
        """A logical unit with a file behind it."""
        file = self.directory / f"disk-{tid}-{lun}"
        with file.open("ab") as made:
            made.truncate(size_bytes)
        self.admin("logicalunit", "new", "--tid", str(tid), "--lun", str(lun), "-b", str(file))
        return file

    def kill(self) -> None:
        """End it at once.  Its sessions' sockets close."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def running_tgtd(directory: Path) -> Iterator[Tgtd]:
    """A tgtd with one target, which has no disk yet."""
    tgtd = Tgtd(directory)
    tgtd.start()
    try:
        tgtd.add_target()
        yield tgtd
    finally:
        tgtd.kill()
