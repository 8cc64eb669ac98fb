import re
import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from attrs import define, field
from rich.console import Console

from examples.demo.__main__ import perform
from examples.demo.array_view import Registration, parse_full_status
from examples.demo.stage import ClaimFailed, Stage
from examples.demo.story import IMAGE_BYTES, LUN_BYTES
from tests.lab.job import Job, Result
from tests.lab.lab import Lab
from tests.lab.launch import PROJECT_ROOT

DEMO_LIMIT_S = 300.0
FULL_STATUS = """\
  LIO-ORG   FILEIO            4.0
  Peripheral device type: disk
  PR generation=0x8
    Key=0xa1
      All target ports bit clear
      Relative port address: 0x1
      not reservation holder
      Transport Id of initiator:
        iSCSI world wide unique port id: iqn.2000-01.example.mpio-fuse:host-a,i,0x00023d000004
    Key=0xb1
      All target ports bit clear
      Relative port address: 0x2
      << Reservation holder >>
      scope: LU_SCOPE,  type: Exclusive Access, registrants only
      Transport Id of initiator:
        iSCSI world wide unique port id: iqn.2000-01.example.mpio-fuse:host-b,i,0x00023d000003
"""


@define
class Saboteur:
    """A lab in which ``deed`` is done before the first command that contains ``before``."""

    lab: Lab
    before: str
    deed: str
    deed_is_done: bool = False

    def spawn(self, command: str, *, environment: Mapping[str, str] | None = None) -> Job:
        return self.lab.spawn(command, environment=environment)

    def run(
        self, command: str, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Result:
        if self.before in command and not self.deed_is_done:
            self.deed_is_done = True
            self.lab.run(self.deed, environment=environment).check()
        return self.lab.run(command, timeout_s=timeout_s, environment=environment)


@define
class Answers:
    """A guest that gives every command the same answer."""

    status: int = 0
    stdout: str = ""
    environments: list[Mapping[str, str] | None] = field(factory=list)

    def spawn(self, command: str, *, environment: Mapping[str, str] | None = None) -> Job:
        raise NotImplementedError

    def run(
        self, command: str, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Result:
        assert timeout_s > 0
        self.environments.append(environment)
        return Result(command, self.status, self.stdout, "")


def stage_of(guest: Answers, *, is_verbose: bool = False) -> tuple[Stage, StringIO]:
    text = StringIO()
    return Stage(guest, Console(file=text, highlight=False), is_verbose), text


@pytest.mark.lab
def test_the_demo_tells_its_story_from_anywhere(tmp_path: Path) -> None:
    demo = subprocess.run(
        [PROJECT_ROOT / "scripts/demo"], cwd=tmp_path, capture_output=True, text=True,
        timeout=DEMO_LIMIT_S, check=False,
    )  # fmt: skip
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr
    told = re.search(r"^all (\d+) claims held, in \d+ s$", demo.stdout, re.MULTILINE)
    assert told is not None, demo.stdout[-4000:]
    assert int(told[1]) == len(re.findall("^   ok: ", demo.stdout, re.MULTILINE)) > 20
    assert "\x1b" not in demo.stdout  # no colours in a pipe


@pytest.mark.fabric(kind="iscsi", hosts=2, underpaths=2, luns=1, size_bytes=LUN_BYTES)
def test_one_wrong_byte_on_the_disk_makes_a_claim_false(lab: Lab) -> None:
    wrong_byte = f"printf X | dd of=$A bs=1 seek={IMAGE_BYTES // 2} conv=notrunc,fsync"
    guest = Saboteur(lab, "sha256sum < /tmp/image", wrong_byte)
    text = StringIO()
    assert perform(guest, lab.report, Console(file=text, width=1000)) == 1
    assert "FAILED: what was read is what was written" in text.getvalue()
    assert re.search(r"seen: '[0-9a-f]{64}' instead of '[0-9a-f]{64}'", text.getvalue())
    assert "claims held" not in text.getvalue()


def test_a_false_claim_says_what_was_seen() -> None:
    stage, text = stage_of(Answers())
    stage.claim_equal("two and two", 4, 4)
    with pytest.raises(ClaimFailed, match="two and three\n  seen: 6 instead of 5"):
        stage.claim_equal("two and three", 6, 5)
    assert stage.claims == 1
    assert "ok: two and two\n" in text.getvalue()
    assert "two and three" not in text.getvalue()


def test_a_command_that_ends_otherwise_than_told_ends_the_story() -> None:
    stage, _ = stage_of(Answers(status=1, stdout="no such thing"))
    with pytest.raises(ClaimFailed, match=r"(?s)the command failed: cat x.*seen: no such thing"):
        stage.run("a", "cat x")
    with pytest.raises(ClaimFailed, match="the check failed: cat x"):
        stage.ask("cat x")
    stage.run("a", "cat x", must_fail=True)
    stage.ask("cat x", may_exit=(0, 1))
    with pytest.raises(ClaimFailed, match="the command should have failed: cat y"):
        stage_of(Answers())[0].run("a", "cat y", must_fail=True)


def test_all_commands_get_the_storys_variables() -> None:
    guest = Answers()
    stage, _ = stage_of(guest)
    stage.variables["A"] = "/mnt/a/lun"
    stage.run("a", "cat $A")
    stage.ask("cat $A")
    assert guest.environments == [{"A": "/mnt/a/lun"}] * 2


def test_checks_are_shown_when_asked_for() -> None:
    quiet, quiet_text = stage_of(Answers(stdout="answer"))
    verbose, verbose_text = stage_of(Answers(stdout="answer"), is_verbose=True)
    for stage in (quiet, verbose):
        stage.ask("look")
    assert quiet_text.getvalue() == ""
    assert "check# look" in verbose_text.getvalue()
    assert "answer" in verbose_text.getvalue()


def test_sg_persists_list_is_read() -> None:
    initiator = "iqn.2000-01.example.mpio-fuse:host-"
    assert parse_full_status(FULL_STATUS) == [
        Registration(0xA1, 1, f"{initiator}a,i,0x00023d000004", None),
        Registration(
            0xB1, 2, f"{initiator}b,i,0x00023d000003", "Exclusive Access, registrants only"
        ),
    ]
    assert parse_full_status("  PR generation=0x8\n  No full status descriptors\n") == []


@pytest.mark.parametrize("lost", ["PR generation", "Relative port address", "type: ", "port id"])
def test_a_list_that_lacks_something_is_no_list(lost: str) -> None:
    lines = [line for line in FULL_STATUS.splitlines() if lost not in line]
    with pytest.raises(ValueError, match="says nothing that matches"):
        parse_full_status("\n".join(lines))
