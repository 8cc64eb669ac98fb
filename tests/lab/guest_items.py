"""Tests marked ``in_guest``, as the pytest outside sees them: ordinary tests whose call waits for a report from inside.

Consecutive ones of one fabric go to the guest together, in one pytest, because starting one there takes a second or
two.  It writes a line a phase of a test (see `inside`) into the work directory, and each `GuestItem` waits for its own.
When that pytest ends early, or a test takes too long, the test concerned fails and the rest gets a new one.
"""

import json
import sys
from collections.abc import Iterator
from os import PathLike
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest.nodes import Node

from tests.lab.errors import GuestTimeoutError, LabError
from tests.lab.fabric import Fabric
from tests.lab.inside import EXIT_BROKEN, REPORTS_VARIABLE
from tests.lab.job import GUEST_WORK, Job
from tests.lab.launch import GuestSettings
from tests.lab.pool import Pool

TEST_TIMEOUT_S = 120.0
POLL_S = 0.05
# What other plugins read from a test's markers concerns the pytest inside.
MARKERS = ("fabric", "in_guest", "lab")

Report = dict[str, Any]


class GuestTestFailure(Exception):
    """A test failed in the guest; the text is what the pytest inside had to say."""


class Batch:
    """Tests that go to the guest together, and the pytest there that runs them."""

    def __init__(self, fabric: Fabric, settings: GuestSettings, pool: Pool) -> None:
        self.fabric = fabric
        self.settings = settings
        self.pool = pool
        self.waiting: list[str] = []
        self._job: Job | None = None
        self._starts = 0

    def reports(self, nodeid: str) -> list[Report]:
        """Wait until ``nodeid`` has been run, and give the reports of its phases."""
        # Tests that were never asked for (pytest stopped, or somebody took them out) are not waited for.
        self.waiting = self.waiting[self.waiting.index(nodeid) :]
        job, self._job = self._job or self._start(), None
        try:
            job, found = self._wait(job, nodeid)
        finally:
            self.waiting.remove(nodeid)
        # Without an error the same pytest goes on with the next test.
        self._job = job
        return found

    def _start(self) -> Job:
        lab = self.pool.take(self.fabric, self.settings)
        self._starts += 1
        name = f"reports-{id(self):x}-{self._starts}"
        (lab.guest.work / f"{name}.args").write_text(
            "".join(f"{nodeid}\n" for nodeid in self.waiting)
        )
        self._file = lab.guest.work / name
        command = f"{sys.executable} -m pytest -p no:cacheprovider @{GUEST_WORK}/{name}.args"
        return lab.spawn(command.split(), environment={REPORTS_VARIABLE: f"{GUEST_WORK}/{name}"})

    def _wait(self, job: Job, nodeid: str) -> tuple[Job, list[Report]]:
        """Wait for the teardown of ``nodeid``; starts again once if another test had left its LUNs unusable."""
        for _ in range(2):
            if not self._poll_until_run(job, nodeid):
                job.kill()
                raise GuestTimeoutError(
                    f"not done in the guest after {TEST_TIMEOUT_S:g} s\n{job.stdout}"
                )
            if found := self._finished(nodeid):
                return job, found
            if job.status != EXIT_BROKEN:
                break
            self.pool.close()
            job = self._start()
        raise LabError(
            f"the pytest in the guest ended without running it\n{job.stdout}{job.stderr}"
        )

    def _poll_until_run(self, job: Job, nodeid: str) -> bool:
        def run_or_over() -> bool:
            # In this order: a job that is over writes no more.
            return job.status is not None or bool(self._finished(nodeid))

        return job.guest.wait_until(run_or_over, TEST_TIMEOUT_S, POLL_S)

    def _finished(self, nodeid: str) -> list[Report]:
        """Give the reports of ``nodeid`` once all of them are there."""
        found = [report for report in self._read() if report["nodeid"] == nodeid]
        return found if any(report["when"] == "teardown" for report in found) else []

    def _read(self) -> Iterator[Report]:
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)


class GuestItem(pytest.Item):
    """Stands for a test that runs in the guest."""

    original: pytest.Item
    batch: Batch

    def runtest(self) -> None:
        reports = self.batch.reports(self.nodeid)
        for report in reports:
            for title, text in report["sections"]:
                if (report["when"], title, text) not in self._report_sections:
                    self.add_report_section(report["when"], title, text)
        for report in reports:
            if report["outcome"] == "skipped":
                pytest.skip(report["text"])
            if report["outcome"] == "failed":
                raise GuestTestFailure(f"{report['when']} failed in the guest\n{report['text']}")

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], *_: object, **__: object
    ) -> str | TerminalRepr:
        if isinstance(excinfo.value, GuestTestFailure | LabError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[PathLike[str] | str, int | None, str]:
        return self.original.reportinfo()

    def iter_markers_with_node(self, name: str | None = None) -> Iterator[tuple[Node, pytest.Mark]]:
        for node, mark in super().iter_markers_with_node(name):
            if mark.name in MARKERS:
                yield node, mark


def replace(
    items: list[pytest.Item], fabric: Fabric, settings: GuestSettings, pool: Pool
) -> list[pytest.Item]:
    """Give ``items``, all of one fabric, those marked ``in_guest`` first and as `GuestItem`."""
    batch = Batch(fabric, settings, pool)
    inner = [item for item in items if item.get_closest_marker("in_guest")]
    outer = [item for item in items if item not in inner]
    return [_guest_item(item, batch) for item in inner] + outer


def _guest_item(item: pytest.Item, batch: Batch) -> GuestItem:
    assert item.parent is not None
    new: GuestItem = GuestItem.from_parent(item.parent, name=item.name)
    new.original = item
    new.batch = batch
    new.own_markers = item.own_markers
    new.keywords.update(item.keywords)
    batch.waiting.append(new.nodeid)
    return new
