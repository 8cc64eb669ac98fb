"""A lab: a guest with a fabric in it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.errors import GuestDiedError, LabError
from tests.lab.fabric import Fabric, FabricReport
from tests.lab.guest import Command, Guest
from tests.lab.job import DEFAULT_TIMEOUT_S, GUEST_WORK, Job, OutputSink, Result
from tests.lab.launch import GuestSettings
from tests.lab.prerequisites import require

RESET_SCRIPT = Path(__file__).resolve().with_name("guest_reset.sh")
FABRIC_FILE = "fabric.json"
REPORT_FILE = "report.json"
BUILD_TIMEOUT_S = 60.0
PROGRAMS = ("iscsid", "iscsiadm", "tgtd", "tgtadm", "fusermount3", "fio", "mkfs.ext4")


class Lab:
    """A booted guest whose kernel has the LUNs and underpaths of a `Fabric`.

    ``with Lab(Fabric.of(kind="iscsi")) as lab: lab.run("sg_turs $A_NODES").check()``.  In every command's environment
    ``A_NODES``, ``B_NODES``, ... are the sg nodes of host a, b, ...; ``LAB_FABRIC`` names a file with the report.
    """

    def __init__(self, fabric: Fabric, settings: GuestSettings = GuestSettings()) -> None:  # noqa: B008 (frozen)
        self.fabric = fabric
        self.guest = Guest(settings)
        self._jobs: list[Job] = []
        self._reports = 0
        self.report = FabricReport(fabric, ())
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        require(PROGRAMS)
        self.guest.__enter__()
        try:
            self._build()
        except BaseException:
            self.guest.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.guest.stop()

    def _build(self) -> None:
        (self.guest.work / FABRIC_FILE).write_text(self.fabric.to_json())
        build = f"{sys.executable} -m tests.lab.build {GUEST_WORK}/{FABRIC_FILE} {GUEST_WORK}/{REPORT_FILE}"
        result = self.guest.run(f"{build} && exec {RESET_SCRIPT} keep", timeout_s=BUILD_TIMEOUT_S)
        if result.status != 0:
            raise LabError(
                f"the fabric could not be built: {self.fabric}\n{result.stdout}{result.stderr}"
            )
        self._take_report(FabricReport.from_json((self.guest.work / REPORT_FILE).read_text()))

    def nodes(self, host: str, lun: int | None = None) -> list[str]:
        """Give the sg nodes ("/dev/sg3") of host ``host``, by LUN and then by underpath."""
        return [node.sg for node in self.report.select(host, lun)]

    def blocks(self, host: str, lun: int | None = None) -> list[str]:
        """Give the block devices ("/dev/sdc") of host ``host``, in the order of ``nodes``."""
        return [node.block for node in self.report.select(host, lun)]

    # Commands -------------------------------------------------------------------------------------------------

    def spawn(
        self,
        command: Command,
        *,
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes = b"",
    ) -> Job:
        """Start ``command`` in the background: bash text, or the words of a command line."""
        variables = {**self.environment, **(environment or {})}
        job = self.guest.spawn(command, environment=variables, cwd=cwd, stdin=stdin)
        self._jobs = [job, *self.running_jobs()]
        return job

    def running_jobs(self) -> list[Job]:
        """Give the commands that have been started and, as far as is known, not ended."""
        return [job for job in self._jobs if job.status is None]

    def run(
        self,
        command: Command,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes = b"",
        sink: OutputSink | None = None,
    ) -> Result:
        """Run ``command`` to its end and give its exit status and output; ``.check()`` it where it must succeed."""
        return self.spawn(command, environment=environment, cwd=cwd, stdin=stdin).wait(
            timeout_s, sink
        )

    def python(
        self, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S, stdin: bytes = b""
    ) -> Result:
        """Run the project's Python, as in ``lab.python("-c", "print(1)")``."""
        return self.run([sys.executable, *arguments], timeout_s=timeout_s, stdin=stdin)

    def mpio_fuse(self, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Result:
        """Run the project's command, as in ``lab.mpio_fuse("discover", "--json")``."""
        return self.run(["mpio-fuse", *arguments], timeout_s=timeout_s)

    # Between tests --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Undo what a test has done, but for the contents of the LUNs: see guest_reset.sh.

        Raises an error, and the guest is of no more use, if that cannot be done.
        """
        for job in self.running_jobs():
            job.kill()
        result = self.guest.run([str(RESET_SCRIPT), "reset", *self.report.addresses_by_lun()])
        if result.status != 0:
            raise GuestDiedError(
                f"a test left the lab in a state it does not come back from\n{result.stderr}"
            )
        self._take_report(self.report.renamed_by(result.stdout))

    def _take_report(self, report: FabricReport) -> None:
        if report == self.report:
            return
        self.report = report
        # A new file each time: the guest would not notice that one it knows has changed.
        self._reports += 1
        name = f"fabric-{self._reports}.json"
        (self.guest.work / name).write_text(report.to_json())
        self.environment = {"LAB_FABRIC": f"{GUEST_WORK}/{name}", **report.environment()}
