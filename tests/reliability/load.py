"""Runs in the guest: fio and the probe on one file, from before the fault until after it."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.reliability.layout import BLOCK_BYTES, FIO_LENGTH_BYTES, FIO_OFFSET_BYTES

FIO_OUTPUT = Path("/tmp/reliability-fio.json")  # noqa: S108 (the guest's own)
FIO_RATE_IOPS = 500
"""Of writes, and as many reads.  Without a bound it takes all of the guest's one CPU, and stalls of its own with it."""
READY_LIMIT_S = 60.0
END_LIMIT_S = 150.0
"""More than anything waits here: requests without an underpath wait for a minute."""
KILL_LIMIT_S = 5.0
EILSEQ = 84
"""What fio says of a block that is not what it wrote."""


class LoadFailed(Exception):
    """The load did not start, or does not end."""


@attrs.frozen
class FioReport:
    """How fio ended."""

    error: int
    """An errno; 0: well."""
    operations: int
    longest_s: float
    said: str

    @property
    def found_wrong_bytes(self) -> bool:
        return self.error == EILSEQ or "verify:" in self.said


class Load:
    """Both programs, running."""

    def __init__(self, file: str, *probe_options: str, fio_output: Path = FIO_OUTPUT) -> None:
        self._fio_output = fio_output
        command = [sys.executable, "-m", "tests.reliability.probe", file]
        self._probe = _popen([*command, *probe_options])
        self._said = ""
        self._fio: subprocess.Popen[str] | None = None
        with self._bounded(READY_LIMIT_S):
            assert self._probe.stdout is not None
            if self._probe.stdout.readline() != "ready\n":
                raise LoadFailed(f"the probe did not start: {self._probe.communicate()[1]}")
        self._fio = _popen(_fio_command(file, fio_output))

    def finish(self) -> tuple[dict[str, Any], FioReport]:
        """End both, and give what they noted."""
        assert self._fio is not None
        self._fio.send_signal(signal.SIGINT)
        with self._bounded(END_LIMIT_S):
            noted = json.loads(self._probe.communicate()[0] or "{}")
            said = "".join(self._fio.communicate())
        if not noted:
            raise LoadFailed("the probe died")
        return noted, _fio_report(said, self._fio_output)

    def kill(self) -> None:
        """Whatever they are doing; what waits in the kernel ends when that lets go of it."""
        running = [process for process in (self._probe, self._fio) if process is not None]
        for process in running:
            process.kill()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_LIMIT_S)

    @contextlib.contextmanager
    def _bounded(self, limit_s: float) -> Iterator[None]:
        is_late = threading.Event()

        def kill() -> None:
            is_late.set()
            self.kill()

        timer = threading.Timer(limit_s, kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if is_late.is_set():
            raise LoadFailed(f"the load did not end within {limit_s:g} s")


def _popen(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _fio_command(file: str, output: Path) -> list[str]:
    output.unlink(missing_ok=True)
    return [
        "fio", "--name=load", f"--filename={file}", f"--offset={FIO_OFFSET_BYTES}",
        f"--size={FIO_LENGTH_BYTES}", f"--bs={BLOCK_BYTES}", "--rw=randwrite", "--direct=1",
        "--ioengine=libaio", "--iodepth=8", f"--rate_iops={FIO_RATE_IOPS}", "--time_based",
        "--runtime=600", "--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1",
        "--verify_state_save=0", "--output-format=json", f"--output={output}",
    ]  # fmt: skip


def _fio_report(said: str, output: Path) -> FioReport:
    text = output.read_text()
    job = json.loads(text[text.index("{") :])["jobs"][0]
    longest_ns = max(job[way]["clat_ns"]["max"] for way in ("read", "write"))
    operations = sum(job[way]["total_ios"] for way in ("read", "write"))
    said += text[: text.index("{")]
    return FioReport(job["error"], operations, round(longest_ns / 1e9, 3), said.strip())
