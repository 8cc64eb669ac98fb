"""Runs in the guest, in its pytest: what makes its tests independent, and tells the pytest outside how they went."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.fabric import FabricReport

REPORTS_VARIABLE = "LAB_REPORTS"
EXIT_BROKEN = 70
RESET_SCRIPT = Path(__file__).resolve().with_name("guest_reset.sh")


def is_inside() -> bool:
    """Tell whether this is the pytest in the guest."""
    return REPORTS_VARIABLE in os.environ


def reset_luns() -> None:
    """Bring all LUNs of the fabric back to no reservations, and LAB_FABRIC to the nodes' present names."""
    report = FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())
    result = subprocess.run(
        [str(RESET_SCRIPT), "luns", *report.addresses_by_lun()],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        pytest.exit(f"the LUNs cannot be reset\n{result.stderr}", EXIT_BROKEN)
    renamed = report.renamed_by(result.stdout)
    if renamed != report:
        new = Path("/run/lab-fabric.json")
        new.write_text(renamed.to_json())
        os.environ.update({"LAB_FABRIC": str(new), **renamed.environment()})


class Inside:
    """The plugin of the pytest in the guest."""

    def __init__(self) -> None:
        self._reports = Path(os.environ[REPORTS_VARIABLE]).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker("in_guest"):
            reset_luns()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        fields = {
            "nodeid": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "text": report.longreprtext,
            "sections": report.sections,
        }
        self._reports.write(json.dumps(fields) + "\n")

    def pytest_unconfigure(self) -> None:
        self._reports.close()
