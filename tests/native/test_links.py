"""Real links in network namespaces, under load: the quick cases of ``python -m tests.native``, without their times."""

import subprocess
import sys

import pytest

from tests.native import namespaces
from tests.native.__main__ import chosen
from tests.native.cases import session_from

LIMIT_S = 240.0
SHOWN = """\
Target 1: iqn.2026-01.test:disks
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.2026-01.test:host-a alias: none
            Connection: 0
                IP Address: 10.1.1.2
        I_T nexus: 12
            Initiator: iqn.2026-01.test:host-a alias: none
            Connection: 0
                IP Address: 10.1.2.2
"""


def test_this_machine_has_what_real_links_take() -> None:
    assert namespaces.missing() == []


@pytest.mark.parametrize("name", [case.name for case in chosen("quick")])
def test_no_error_and_no_wrong_byte_while_one_link_lives(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.native", "--cases", name, "--any-time"],
        check=False, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 cases as they must be" in done.stdout


def test_the_session_of_a_link_is_found() -> None:
    assert session_from(SHOWN, "10.1.1") == "1"
    assert session_from(SHOWN, "10.1.2") == "12"
    with pytest.raises(ValueError, match=r"no session from 10\.1\.3"):
        session_from(SHOWN, "10.1.3")
