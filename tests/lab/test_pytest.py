"""Tests in the guest are ordinary tests outside: each has its own outcome, and its own reasons."""

import os
import subprocess
import sys

import pytest

from tests.lab.launch import PROJECT_ROOT

EXAMPLES = "tests/lab/inner_examples.py"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a pytest run of the examples writes."""
    temporary = tmp_path_factory.mktemp("outer")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", EXAMPLES]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    run = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return run.stdout


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("test_runs_inside", "PASSED"),
        ("test_fails_for_b[a]", "PASSED"),
        ("test_fails_for_b[b c]", "FAILED"),
        ("test_ends_the_whole_pytest", "FAILED"),
        ("test_after_that", "PASSED"),
    ],
)
def test_each_has_its_outcome(output: str, name: str, outcome: str) -> None:
    assert f"{EXAMPLES}::{name} {outcome}" in output


@pytest.mark.parametrize(
    "reason", ["assert 'b c' == 'a'", "printed inside: b c", "ended without running it"]
)
def test_the_reason_comes_out(output: str, reason: str) -> None:
    assert reason in output
