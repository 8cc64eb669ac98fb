"""Runs the story's commands on this machine: bash, in a directory of the story's own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from tests.lab.job import Job, Result

POLL_S = 0.02


@define
class LocalGuest:
    """``directory``: where commands run.  ``work``: where their output goes."""

    work: Path
    directory: Path
    _processes: dict[int, "subprocess.Popen[bytes]"] = field(factory=dict)
    _jobs: dict[int, Job] = field(factory=dict)

    def spawn(self, command: str, *, environment: Mapping[str, str] | None = None) -> Job:
        """Start it, in a session of its own."""
        number = len(self._jobs)
        with (
            (self.work / f"{number}.out").open("wb") as out,
            (self.work / f"{number}.err").open("wb") as err,
        ):
            self._processes[number] = subprocess.Popen(
                ["bash", "-c", command], cwd=self.directory, env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip
        job = self._jobs[number] = Job(self, number, command)
        return job

    def run(
        self, command: str, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Result:
        """Run it, and give how it ended."""
        return self.spawn(command, environment=environment).wait(timeout_s)

    def end(self) -> None:
        """Kill whatever still runs."""
        for number in self._jobs:
            self._signal_group(number, signal.SIGKILL)
        self.poll()

    # What a job asks of where it runs -------------------------------------------------------------------------

    def send(self, request: str) -> None:
        """Obey "KILL N" and "SIGNAL N SIGNUM"."""
        verb, number, *rest = request.split()
        self._signal_group(int(number), signal.SIGKILL if verb == "KILL" else int(rest[0]))

    def poll(self) -> None:
        """Note who has ended."""
        for number, process in self._processes.items():
            if (status := process.poll()) is not None:
                self._jobs[number].status = status if status >= 0 else 128 - status

    def stop(self) -> None:
        """A command that cannot be killed waits in the kernel; that ends with the daemon."""

    def wait_until(
        self,
        condition: Callable[[], bool],
        timeout_s: float,
        poll_s: float | None = None,
        each_time: Callable[[], None] = lambda: None,
    ) -> bool:
        """Wait; whether it came true in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.poll()
            each_time()
            if condition():
                return True
            if time.monotonic() > deadline_s:
                return False
            time.sleep(poll_s or POLL_S)

    def _signal_group(self, number: int, what: int) -> None:
        if self._processes[number].poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._processes[number].pid, what)  # it leads its session
