"""mount --lab and the command fault, as somebody at a terminal has them; the array is simulated, FUSE is real."""

import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest

from mpio_fuse.daemon import background
from tests.daemon.test_commands import Terminal, terminal

__all__ = ["terminal"]

HERE = (sys.executable, "-m", "tests.daemon.serve_simulated")
FOR_LABS_ONLY = "--fault makes commands fail, which is for a lab only"
MANUAL = "docs/faults.md has the words"
LAB = "mpio-fuse: warning: this is a lab: commands can be made to fail"


@pytest.fixture(autouse=True)
def _simulated(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background.start, "__defaults__", (HERE,))


def read_block(terminal: Terminal) -> bytes:
    fd = os.open(terminal.root / "disk", os.O_RDONLY | os.O_DIRECT)
    try:
        return os.pread(fd, 4096, 0)
    finally:
        os.close(fd)


def refusal(terminal: Terminal, *arguments: object, status: int) -> str:
    """The one line on stderr of a command that fails."""
    terminal.said()
    assert terminal.run(*arguments) == status
    out, error = terminal.said()
    assert (out, error.count("\n")) == ("", 1)
    return error.removeprefix("mpio-fuse: ").rstrip("\n")


def test_faults_strike_reads_until_they_are_cleared(terminal: Terminal) -> None:
    assert terminal.run("mount", "--lab", terminal.root) == 0
    assert terminal.said() == ("", f"{LAB} (0 faults set)\n")
    assert read_block(terminal) == bytes(4096)
    assert terminal.run("fault", "add", terminal.root, "*: error 3/11/00 on=read lba=0-7") == 0
    assert terminal.said() == ("1\n", "")
    with pytest.raises(OSError, match="Input/output error") as caught:
        read_block(terminal)
    assert caught.value.errno == errno.EIO
    assert terminal.run("fault", "list", terminal.root) == 0
    heading, row = terminal.said()[0].splitlines()
    assert heading.split() == ["number", "state", "seen", "struck", "fault"]
    number, state, seen, struck, *fault = row.split()
    assert (number, state, " ".join(fault)) == ("1", "set", "*: error 3/11/00 on=read lba=0-7")
    assert int(seen) == int(struck) >= 1
    assert terminal.run("fault", "clear", terminal.root) == 0
    assert terminal.said() == ("", "")
    assert read_block(terminal) == bytes(4096)


def test_mounting_with_faults_shows_them(terminal: Terminal) -> None:
    faults = ("--fault", "a1: error busy on=reset", "--fault", "a9:   hang")
    assert terminal.run("mount", "--lab", *faults, terminal.root) == 0
    assert terminal.said()[1].splitlines() == [
        f"{LAB} (2 faults set)",
        "mpio-fuse: warning: fault 2 (a9: hang): there is no such underpath here",
    ]
    lab = terminal.status()["lab"]
    assert [(one["number"], one["underpath"], one["fault"]) for one in lab["faults"]] == [
        (1, "a1", "error busy on=reset"),
        (2, "a9", "hang"),
    ]
    assert terminal.run("fault", "list", "--json", terminal.root) == 0
    assert json.loads(terminal.said()[0]) == lab
    for arguments in (["status"], ["status", "disk"]):
        assert terminal.run(*arguments) == 0
        text = terminal.said()[0]
        assert "  LAB: commands can be made to fail\n" in text
        assert "    fault 1: a1: error busy on=reset  (set, has struck 0 of 0)\n" in text


def test_faults_from_a_file(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "black-hole"
    file.write_text("# one cable\na1: hang from=1h\n\n# and the other\na2: drop from=1h\n")
    assert terminal.run("mount", "--lab", "--fault", f"@{file}", terminal.root) == 0
    assert terminal.run("fault", "add", terminal.root, f"@{file}", "*: delay 1ms count=1") == 0
    assert terminal.said()[0] == "3\n4\n5\n"
    faults = [one["fault"] for one in terminal.status()["lab"]["faults"]]
    assert faults == ["hang from=1h", "drop from=1h"] * 2 + ["delay 1ms count=1"]


def test_a_trace_needs_no_lab(terminal: Terminal, tmp_path: Path) -> None:
    relative = os.path.relpath(tmp_path / "trace")
    assert terminal.run("mount", "--trace", relative, terminal.root) == 0
    assert terminal.said() == ("", "")
    read_block(terminal)
    status = terminal.status()
    assert (status["lab"], status["trace"]["problem"]) == (None, None)
    assert Path(status["trace"]["file"]).is_absolute()
    assert terminal.run("status") == 0
    assert re.search(
        rf"\n  trace: {re.escape(status['trace']['file'])}, [1-9]\d* commands\n", terminal.said()[0]
    )
    assert terminal.run("unmount", terminal.root) == 0
    lines = (tmp_path / "trace").read_text().splitlines()
    assert any("\tREAD(10)\t2800000000000000" in line for line in lines)
    assert "\tGOOD" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--fault", "*: hang"],
            f"{FOR_LABS_ONLY}; add --lab, where nobody's data depends on this mount",
        ),
        (
            ["--lab", "--fault", "hang"],
            f"fault 'hang', column 1: not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'; {MANUAL}",
        ),
        (
            ["--lab", "--fault", "*: drop at=1"],
            f"fault '*: drop at=1', column 12: '1' is no duration such as 250ms, 1.5s, 2min or 1h; {MANUAL}",
        ),
        (["--lab", "--fault", "@/nonexistent"], "/nonexistent: no such file of faults"),
        (["--lab", "--fault", "@/dev/zero"], "/dev/zero: longer than any file of faults"),
        (["--lab", "--fault", "@/bin/true"], "/bin/true: not text, so no file of faults"),
    ],
)  # fmt: skip
def test_wrong_usage_mounts_nothing(terminal: Terminal, arguments: list[str], line: str) -> None:
    assert refusal(terminal, "mount", *arguments, terminal.root, status=2) == line
    assert not os.path.ismount(terminal.root)


def test_what_cannot_be_read_or_written_mounts_nothing(terminal: Terminal, tmp_path: Path) -> None:
    line = refusal(terminal, "mount", "--lab", "--fault", f"@{tmp_path}", terminal.root, status=1)
    assert line == f"{tmp_path}: cannot be read: Is a directory"
    trace = tmp_path / "nothing" / "trace"
    line = refusal(terminal, "mount", "--trace", trace, terminal.root, status=1)
    assert line.startswith(f"trace {trace}: No such file or directory; name a file in")
    assert not os.path.ismount(terminal.root)


def test_a_mount_that_is_no_lab_has_no_faults(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    for arguments in (("list",), ("add",), ("clear",)):
        fault = ["*: hang"] if arguments == ("add",) else []
        line = refusal(terminal, "fault", *arguments, terminal.root, *fault, status=1)
        assert line == (
            "not mounted with --lab: its commands cannot be made to fail; "
            "unmount it, and mount it with --lab, where nobody's data depends on it"
        )
    assert terminal.status()["lab"] is None


def test_where_nothing_is_mounted(terminal: Terminal) -> None:
    line = refusal(terminal, "fault", "list", terminal.root, status=1)
    assert line == f"{terminal.root}: not mounted by mpio-fuse; 'mpio-fuse status' shows what is"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["add", "", "*: hang"], 2, "the mountpoint is empty; name a directory"),
        (["add", "ROOT"], 2, "Missing argument ''UNDERPATH: FAULT'...'; see 'mpio-fuse fault add --help'"),
        (["add", "ROOT", "a1: hang", "a1: hung"], 2, "fault 'a1: hung', column 5: 'hung' is no action"),
        (["add", "ROOT", "a9: hang"], 1, "there is no underpath 'a9' here; 'mpio-fuse status' shows which there are"),
        (["clear", "ROOT", "7"], 1, "there is no fault 7; list them first"),
        (["clear", "ROOT", "0"], 2, "0 is not in the range x>=1"),
        (["clear", "ROOT", "all"], 2, "'all' is not a valid integer range"),
        (["explode"], 2, "No such command 'explode'"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_change_nothing(
    terminal: Terminal, arguments: list[str], status: int, words: str
) -> None:
    terminal.run("mount", "--lab", terminal.root)
    named = [str(terminal.root) if one == "ROOT" else one for one in arguments]
    assert words in refusal(terminal, "fault", *named, status=status)
    assert terminal.status()["lab"]["faults"] == []
