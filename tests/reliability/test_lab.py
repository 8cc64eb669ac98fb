"""A selection of the cases, in the lab; ``python -m tests.reliability`` runs them all, and measures.

``tests/lab/test_failover.py`` has two more.
"""

import pytest

from tests.lab.lab import Lab

ISCSI = ("node-deleted", "connection-killed", "lun-reset")
TAKEOVERS = 10


def run_case(lab: Lab, name: str) -> None:
    lab.python("-m", "tests.reliability", "--cases", name, "--quick", timeout_s=100).check()


@pytest.mark.fabric(hosts=1)
@pytest.mark.parametrize("name", ISCSI)
def test_an_underpath_is_lost_and_nobody_is_told(lab: Lab, name: str) -> None:
    run_case(lab, name)


@pytest.mark.fabric(kind="loop", hosts=1)
def test_the_transport_of_an_underpath_is_offline(lab: Lab) -> None:
    run_case(lab, "loop-transport-offline")


def test_takeovers_in_turn(lab: Lab) -> None:
    times = str(TAKEOVERS)
    done = lab.python("-m", "tests.reliability.takeovers", "--times", times, timeout_s=100).check()
    assert done.stdout.startswith(f"{TAKEOVERS} takeovers: 0 blocks of an old owner")


def test_a_write_in_flight_when_the_disk_is_taken_does_not_land(lab: Lab) -> None:
    """The backing store is slow, so that it would land long after the forced open has returned."""
    command = ("-m", "tests.reliability.takeovers", "--times", "2", "--slow", "0.4")
    lab.python(*command, timeout_s=100).check()
