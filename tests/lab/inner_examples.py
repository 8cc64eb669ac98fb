"""Tests for `test_pytest`, which runs this file by name: one of each way a test in the guest can go."""

import os

import pytest

from tests.lab.fabric import FabricReport

pytestmark = [
    pytest.mark.in_guest,
    pytest.mark.fabric(kind="scsi_debug", hosts=1, underpaths=2),
]


def test_runs_inside(lab_fabric: FabricReport) -> None:
    assert os.uname().nodename == "lab"
    assert [os.path.exists(node.sg) for node in lab_fabric.nodes] == [True, True]  # noqa: PTH110


@pytest.mark.parametrize("word", ["a", "b c"])
def test_fails_for_b(word: str) -> None:
    print(f"printed inside: {word}")  # noqa: T201
    assert word == "a"


def test_ends_the_whole_pytest() -> None:
    os._exit(3)


def test_after_that() -> None:
    pass
