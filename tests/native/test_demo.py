"""``scripts/demo --native`` tells its story, and cannot be made to tell it about a disk that does not keep its data."""

import re
import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from attrs import define
from rich.console import Console

from examples.native.__main__ import missing, perform, prepared, with_programs
from examples.native.guest import LocalGuest
from examples.native.looks import holder, of_persist
from examples.native.story import IMAGE_BYTES
from tests.lab.errors import GuestTimeoutError, LabError
from tests.lab.job import Job, Result
from tests.lab.launch import PROJECT_ROOT
from tests.native.site import Site

DEMO_LIMIT_S = 300.0
KEYS = """\
naa.60000000000000000e00000000010001
registered key      nexuses
0x00000000000000a1  2
0x00000000000000b1  1
generation: 0xa
"""
RESERVATION = "reservation: key 0x00000000000000a1, type 6, Exclusive Access, registrants only\n"


@define
class Saboteur:
    """The machine, with a wrong byte on the array's disk before the first command that contains ``before``."""

    guest: LocalGuest
    site: Site
    before: str
    is_done: bool = False

    def spawn(self, command: str, *, environment: Mapping[str, str] | None = None) -> Job:
        return self.guest.spawn(command, environment=environment)

    def run(
        self, command: str, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Result:
        if self.before in command and not self.is_done:
            self.is_done = True
            with self.site.disk.open("r+b") as disk:
                disk.seek(IMAGE_BYTES // 2)
                disk.write(b"X")
        return self.guest.run(command, timeout_s=timeout_s, environment=environment)


def test_the_native_demo_tells_its_story_from_anywhere(tmp_path: Path) -> None:
    demo = subprocess.run(
        [PROJECT_ROOT / "scripts/demo", "--native"], cwd=tmp_path, capture_output=True, text=True,
        timeout=DEMO_LIMIT_S, check=False,
    )  # fmt: skip
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr
    told = re.search(r"^all (\d+) claims held, in \d+ s$", demo.stdout, re.MULTILINE)
    assert told is not None, demo.stdout[-4000:]
    assert int(told[1]) == len(re.findall("^   ok: ", demo.stdout, re.MULTILINE)) > 20
    assert "\x1b" not in demo.stdout  # no colours in a pipe


def test_its_shell_is_on_host_a(tmp_path: Path) -> None:
    typed = "mpio-fuse mount a/mnt --config a/config.toml --key a1 $A1 $A2 && ls a/mnt && mpio-fuse unmount a/mnt"
    shell = subprocess.run(
        [PROJECT_ROOT / "scripts/demo", "--native", "--shell"], cwd=tmp_path, input=typed,
        capture_output=True, text=True, timeout=DEMO_LIMIT_S, check=False,
    )  # fmt: skip
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert re.search("^naa[.][0-9a-f]{32}$", shell.stdout, re.MULTILINE)


def test_one_wrong_byte_on_the_medium_makes_a_claim_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with_programs()
    assert missing() == []
    text = StringIO()
    with prepared() as (site, guest):
        saboteur = Saboteur(guest, site, "sha256sum < image")
        assert perform(saboteur, site, Console(file=text, width=1000)) == 1
    assert "FAILED: what was read is what was written" in text.getvalue()
    assert re.search(r"seen: '[0-9a-f]{64}' instead of '[0-9a-f]{64}'", text.getvalue())
    assert "host a's log ends with" in text.getvalue()


def test_what_the_array_says_is_read() -> None:
    assert of_persist(Result("", 0, KEYS, "")) == {0xA1: 2, 0xB1: 1}
    assert holder(Result("", 0, RESERVATION, "")) == (0xA1, "Exclusive Access, registrants only")
    assert holder(Result("", 0, "reservation: none\n", "")) is None


@pytest.fixture
def guest(tmp_path: Path) -> LocalGuest:
    return LocalGuest(tmp_path, tmp_path)


def test_a_command_runs_in_the_storys_directory_with_its_variables(guest: LocalGuest) -> None:
    done = guest.run("pwd; echo $A; echo wrong >&2; exit 3", timeout_s=60, environment={"A": "b"})
    assert (done.status, done.stdout, done.stderr) == (3, f"{guest.directory}\nb\n", "wrong\n")


def test_a_command_in_the_background_is_ended_with_its_children(guest: LocalGuest) -> None:
    job = guest.spawn("sleep 600 & echo $!; wait")
    job.wait_for_output("\n")
    job.kill()
    assert job.status == 128 + 9
    with pytest.raises(LabError, match="ended without writing"):
        guest.spawn("true").wait_for_output("never")
    with pytest.raises(GuestTimeoutError):
        guest.run("sleep 600", timeout_s=0.05)
    assert guest.run(f"ps -o stat= -p {job.stdout.strip()} | grep -v Z", timeout_s=60).stdout == ""
