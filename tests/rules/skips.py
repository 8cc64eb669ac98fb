"""Nothing is skipped: a test that does not run is a failure, and its reason is the message.

A machine that lacks what a test needs is a machine on which the project is not tested, and that has to be seen.
"""

from collections.abc import Generator

import pytest


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"nothing is skipped here; {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = _reason(report)
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        report.longrepr = _reason(report)
        report.outcome = "failed"
    return report
