"""mount, status, unmount, as somebody at a terminal has them; the LUNs are in memory, FUSE is real."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from mpio_fuse.cli import main
from mpio_fuse.daemon import background

MPIO_FUSE = (sys.executable, "-m", "mpio_fuse.cli.main")
HERE = (sys.executable, "-m", "tests.daemon.serve_memory")


@attrs.frozen
class Terminal:
    """A mountpoint, a run directory of its own, and what was said."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: object) -> int:
        return main.run([str(one) for one in arguments])

    def said(self) -> tuple[str, str]:
        """What went to stdout and to stderr since the last look."""
        return tuple(self.capture.readouterr())  # type: ignore[return-value] # it has two members

    def status(self) -> dict[str, Any]:
        self.said()
        assert self.run("status", "--json") == 0
        (daemon,) = json.loads(self.said()[0])["daemons"]
        return dict(daemon)


@pytest.fixture
def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    monkeypatch.setattr(background.start, "__defaults__", (HERE,))
    root = tmp_path / "mnt"
    root.mkdir()
    with tempfile.TemporaryDirectory(prefix="mpio-") as run_directory:  # a socket's name is short
        monkeypatch.setenv("MPIO_FUSE_RUN_DIR", run_directory)
        yield Terminal(root, capsys)
        main.run(["unmount", "--force", str(root)])
        capsys.readouterr()
        assert not os.path.ismount(root)
        assert os.listdir(run_directory) == []  # noqa: PTH208 - it is a text here


def test_mount_returns_once_the_tree_is_usable_and_unmount_once_it_is_gone(
    terminal: Terminal,
) -> None:
    assert terminal.run("mount", terminal.root) == 0
    assert (terminal.root / "naa.1").stat().st_size == 4 << 20
    assert terminal.run("unmount", terminal.root) == 0
    assert list(terminal.root.iterdir()) == []
    assert terminal.said() == ("", "")
    assert terminal.run("mount", terminal.root) == 0


def test_status_shows_the_lun_to_people_and_programs(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "--key", "0xabc")
    daemon = terminal.status()
    assert (daemon["mountpoint"], daemon["key"]) == (str(terminal.root), "0x0000000000000abc")
    (lun,) = daemon["luns"]
    assert (lun["name"], lun["reservation"]["owner"], lun["fenced"]) == ("naa.1", "ours", False)
    assert lun["underpaths"][0]["bytes_read"] == 4096
    assert terminal.run("status", "naa.1") == 0
    text = terminal.said()[0]
    for part in ("naa.1  4 MiB", "key 0x0000000000000abc", "/dev/sg0", "4 KiB", "opens: 1"):
        assert part in text


def test_status_names_who_has_a_file_open(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with (terminal.root / "naa.1").open("rb"):
        (lun,) = terminal.status()["luns"]
        opener = {"pid": os.getpid(), "uid": os.getuid(), "options": "DEFAULT"}
        assert lun["openers"] == [opener]


def test_status_of_another_lun_fails(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    assert terminal.run("status", "naa.9") == 1
    assert "no daemon serves a LUN naa.9; served: naa.1" in terminal.said()[1]


def test_status_without_a_daemon_fails(terminal: Terminal) -> None:
    assert terminal.run("status") == 1
    assert "no daemon is running" in terminal.said()[1]


def test_unmount_says_who_keeps_it_busy_and_goes_on_serving(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    lun = terminal.root / "naa.1"
    with lun.open("rb"):
        assert terminal.run("unmount", terminal.root) == 1
        error = terminal.said()[1]
        assert f"busy, 1 open file of naa.1 (by process {os.getpid()})" in error
        assert lun.read_bytes() == bytes(4 << 20)


def test_lazy_unmount_ends_with_the_last_close(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    pid = terminal.status()["pid"]
    with (terminal.root / "naa.1").open("rb") as opened:
        assert terminal.run("unmount", "--lazy", terminal.root) == 0
        assert "ends when 1 open file is closed" in terminal.said()[0]
        assert list(terminal.root.iterdir()) == []
        assert opened.read(4) == bytes(4)
        gone = os.pidfd_open(pid)
    os.waitid(os.P_PIDFD, gone, os.WEXITED)
    os.close(gone)


@pytest.mark.parametrize("detach", [["umount", "--lazy"], [*MPIO_FUSE, "unmount", "--lazy"]])
def test_unmount_of_what_is_detached_says_what_it_would_wait_for(
    terminal: Terminal, detach: list[str]
) -> None:
    terminal.run("mount", terminal.root)
    gone = os.pidfd_open(terminal.status()["pid"])
    with (terminal.root / "naa.1").open("rb") as opened:
        subprocess.run([*detach, str(terminal.root)], check=True)
        assert terminal.run("unmount", terminal.root) == 1
        assert terminal.said()[1] == (
            f"mpio-fuse: {terminal.root}: detached already; 1 open file of naa.1 (by process {os.getpid()}); "
            "the daemon ends with the last close, or now with --force\n"
        )
        assert opened.read(4) == bytes(4)
        assert terminal.run("unmount", "--lazy", terminal.root) == 0
        assert "ends when 1 open file is closed" in terminal.said()[0]
    os.waitid(os.P_PIDFD, gone, os.WEXITED)
    os.close(gone)


@contextmanager
def cut_off(lun: Path) -> Iterator[None]:
    """Have a LUN open and written to while its daemon ends: reading and closing it then fail."""
    fd = os.open(lun, os.O_RDWR)
    os.pwrite(fd, b"x", 0)
    yield
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.pread(fd, 1 << 20, 1 << 20)
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.close(fd)


def test_forced_unmount_fails_the_open_files(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with cut_off(terminal.root / "naa.1"):
        assert terminal.run("unmount", "--force", terminal.root) == 0


def test_the_plain_umount_ends_the_daemon_too(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    gone = os.pidfd_open(terminal.status()["pid"])
    subprocess.run(["umount", str(terminal.root)], check=True)
    os.waitid(os.P_PIDFD, gone, os.WEXITED)
    os.close(gone)
    assert terminal.run("status") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_foreground_daemon_in_order(
    terminal: Terminal, number: signal.Signals
) -> None:
    command = [*HERE, "mount", str(terminal.root), "--foreground"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "mounted" not in process.stderr.readline():
            assert process.poll() is None
        with cut_off(terminal.root / "naa.1"):
            process.send_signal(number)
            log = process.stderr.read()
        assert process.wait() == 0
    assert "ended" in log
    assert list(terminal.root.iterdir()) == []


def test_a_killed_daemons_leftovers_are_cleared_by_the_next_mount(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with cut_off(terminal.root / "naa.1"):
        _kill(terminal)
        assert terminal.run("mount", terminal.root) == 0
        assert (terminal.root / "naa.1").read_bytes() == bytes(4 << 20)
    assert terminal.status()["mountpoint"] == str(terminal.root)


def test_a_killed_daemons_leftovers_are_cleared_by_unmount(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    _kill(terminal)
    assert terminal.run("unmount", terminal.root) == 0
    cleared, left = terminal.said()[1].splitlines()
    assert "the daemon had crashed; cleared what it left; its log is" in cleared
    assert "its registrations, and a reservation it had, stay at the array; to take them" in left
    assert "mount the same LUNs with the same key once more, 'mpio-fuse release' those" in left
    _drop_logs()
    assert terminal.run("unmount", terminal.root) == 1
    assert "not mounted by mpio-fuse" in terminal.said()[1]


@contextmanager
def mounted_at(terminal: Terminal, root: Path) -> Iterator[Path]:
    """A mount of its own, besides the terminal's."""
    root.mkdir()
    assert terminal.run("mount", root) == 0
    yield root
    assert terminal.run("unmount", root) == 0


def test_a_daemon_that_was_killed_is_named(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("mount", terminal.root)
    pid = _kill(terminal)
    what = f"{terminal.root}: its daemon (process {pid}) has ended without unmounting"
    line = f"mpio-fuse: {what}; mount it again or unmount it\n"
    for command in (["status"], ["status", terminal.root], ["fault", "list", terminal.root]):
        assert terminal.run(*command) == 1
        assert terminal.said() == ("", line)
    for command in (["release", "naa.1"], ["underpath", "add", "naa.1", "/dev/sg0"]):
        assert terminal.run(*command) == 1
        assert terminal.said()[1] == f"mpio-fuse: no daemon serves a LUN naa.1; {line[11:]}"
    with mounted_at(terminal, tmp_path / "other") as other:
        assert terminal.run("status") == 0
        shown, error = terminal.said()
        assert f"{other}  (pid " in shown
        assert error == line.replace(": ", ": warning: ", 1)
        assert terminal.run("status", "--json") == 0
        document = json.loads(terminal.said()[0])
        assert document["ended"] == [{"mountpoint": str(terminal.root), "pid": pid}]
        assert [one["mountpoint"] for one in document["daemons"]] == [str(other)]
        for name in ("naa.1", other):  # of this daemon there is nothing else to tell
            assert terminal.run("status", name) == 0
            assert terminal.said()[1] == ""
    _drop_logs()


def test_a_path_says_which_of_two_daemons_lun_is_meant(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("mount", terminal.root)
    with mounted_at(terminal, tmp_path / "other") as other:
        link = tmp_path / "link"
        link.symlink_to(other)
        for path in (other, f"{other}/naa.1", link / "naa.1", f"{other}/.ext/forced/naa.1"):
            terminal.said()
            assert terminal.run("status", "--json", path) == 0
            (daemon,) = json.loads(terminal.said()[0])["daemons"]
            assert daemon["mountpoint"] == str(other)
            assert len(daemon["luns"]) == 1
        assert terminal.run("status", other / "naa.2") == 1
        assert "no daemon serves a LUN" in terminal.said()[1]
        for name in ("naa.1", "naa.5000000000000001"):
            for command in (["release", name], ["explain", "forced", name]):
                assert terminal.run(*command) == 1
                assert terminal.said()[1] == (
                    f"mpio-fuse: {name}: served at {terminal.root} and {other}; "
                    f"say which by its path, as {terminal.root}/naa.1\n"
                )


def _kill(terminal: Terminal) -> int:
    pid = int(terminal.status()["pid"])
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PIDFD, gone, os.WEXITED)
    os.close(gone)
    return pid


def test_a_lun_left_out_is_a_warning(terminal: Terminal) -> None:
    assert terminal.run("mount", terminal.root, "refused") == 0
    warning = terminal.said()[1]
    assert warning.splitlines() == [
        "mpio-fuse: warning: left out: naa.2: no underpath could be registered; check the cabling"
    ]
    assert terminal.run("status") == 0
    assert "left out: naa.2" in terminal.said()[0]


def test_no_lun_at_all_is_an_error(terminal: Terminal) -> None:
    assert terminal.run("mount", terminal.root, "alone") == 1
    assert terminal.said()[1].splitlines() == [
        "mpio-fuse: naa.2: no underpath could be registered; check the cabling"
    ]


def test_a_daemon_that_dies_while_starting_is_an_error(terminal: Terminal) -> None:
    assert terminal.run("mount", terminal.root, "dies") == 1
    assert "the daemon died while starting (exit status -9)" in terminal.said()[1]
    _drop_logs()


def test_an_interrupted_mount_leaves_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(background, "_await_ready", interrupted)
    assert terminal.run("mount", terminal.root) == 130
    assert terminal.said() == ("", f"\nmpio-fuse: interrupted: {terminal.root} is not mounted\n")
    assert os.listdir(os.environ["MPIO_FUSE_RUN_DIR"]) == []  # noqa: PTH208 - it is a text here


def test_a_program_that_may_not_be_run_is_one_line(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.touch(mode=0o600)
    monkeypatch.setattr(background.start, "__defaults__", ((str(program),),))
    assert terminal.run("mount", terminal.root) == 1
    assert terminal.said()[1] == (
        f"mpio-fuse: the daemon cannot be started: {program}: Permission denied; "
        "see that this user may run that program, and enter the directories above it\n"
    )
    _drop_logs()


def _drop_logs() -> None:
    """What is kept of a daemon that crashed is of no more use here."""
    for file in Path(os.environ["MPIO_FUSE_RUN_DIR"]).glob("*.log"):
        file.unlink()


def test_an_alias_names_the_file(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mpio-fuse.toml"
    file.write_text('[luns."NAA.5000000000000001"]\nalias = "database"\n')
    assert terminal.run("mount", "--config", file, terminal.root) == 0
    assert [entry.name for entry in terminal.root.iterdir()] == ["database"]
    assert terminal.run("status", "naa.5000000000000001") == 0


def test_a_lun_that_is_configured_and_not_there_is_a_warning(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "mpio-fuse.toml"
    file.write_text(
        'bypass = ["naa.5000000000000003"]\n'
        '[luns."naa.5000000000000001"]\n[luns."naa.5000000000000002"]\nopen = "retain"\n'
    )
    assert terminal.run("mount", "--config", file, terminal.root) == 0
    what = "no LUN that was found here has that WWID, so this applies to nothing"
    lines = [f'[luns."naa.5000000000000002"]: {what}', f"bypass: naa.5000000000000003: {what}"]
    assert terminal.said()[1].splitlines() == [f"mpio-fuse: warning: {line}" for line in lines]
    assert terminal.run("status") == 0
    shown = terminal.said()[0]
    log = next(Path(os.environ["MPIO_FUSE_RUN_DIR"]).glob("*.log")).read_text()
    for line in lines:
        assert f"  warning: {line}\n" in shown
        assert line in log
    assert terminal.status()["warnings"] == lines


def test_bad_mountpoints_are_one_line_each(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    terminal.run("mount", terminal.root)
    terminal.said()
    for place, words in (
        (tmp_path / "nothing", "No such file or directory"),
        (file, "not a directory"),
        (terminal.root, "busy, served by process"),
        (Path("/proc"), "busy, proc (proc) is mounted there"),
    ):
        assert terminal.run("mount", place) == 1
        (line,) = terminal.said()[1].splitlines()
        assert words in line
        assert str(place) in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", "0"], "key 0 cannot be registered"),
        (["--key", "xyz"], "'xyz' is not a reservation key"),
        (["--config", "/nonexistent.toml"], "/nonexistent.toml: no such configuration file"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    terminal: Terminal, arguments: list[str], words: str
) -> None:
    assert terminal.run("mount", *arguments, terminal.root) == 2
    (line,) = terminal.said()[1].splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["mount", ""], "the mountpoint is empty; name a directory"),
        (["unmount", ""], "the mountpoint is empty; name a directory"),
        (["mount", ".", ""], "a DEVICE is empty; name a node such as /dev/sg3"),
        (["discover", ""], "a DEVICE is empty; name a node such as /dev/sg3"),
        (["persist", "read-keys", ""], "a DEVICE is empty; name a node such as /dev/sg3"),
        (["explain", "--device", "", "lun"], "a DEVICE is empty; name a node such as /dev/sg3"),
    ],
)
def test_an_empty_name_is_wrong_usage(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(terminal.root)  # where an empty name would lead
    assert terminal.run(*arguments) == 2
    assert terminal.said() == ("", f"mpio-fuse: {line}\n")


def test_control_characters_in_a_mountpoint_stay_on_their_line(terminal: Terminal) -> None:
    root = terminal.root / "a\nb\x1b[2J\r\x0b\x85"
    root.mkdir()
    assert terminal.run("mount", root) == 0
    try:
        terminal.said()
        assert terminal.run("status") == 0
        text = terminal.said()[0]
        assert f"{terminal.root}/a?b?[2J???  (pid " in text
        assert all(character.isprintable() for character in text.replace("\n", ""))
    finally:
        assert terminal.run("unmount", root) == 0
    assert list(root.iterdir()) == []


def test_a_log_without_room_is_told_by_mount_and_status(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mpio-fuse.toml"
    file.write_text('[log]\nfile = "/dev/full"\n')
    assert terminal.run("mount", "--config", file, terminal.root) == 0
    line = "mpio-fuse: warning: log /dev/full: cannot be written: No space left on device\n"
    assert terminal.said()[1] == line
    log = terminal.status()["log"]
    assert (log["file"], log["problem"]) == ("/dev/full", "No space left on device")
    assert log["records"] > 0
    assert terminal.run("status") == 0
    assert "  log: /dev/full: cannot be written since 2" in terminal.said()[0]


def test_an_unwritable_log_names_its_directory(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mpio-fuse.toml"
    file.write_text(f'[log]\nfile = "{tmp_path}/nothing/log"\n')
    assert terminal.run("mount", "--config", file, terminal.root) == 1
    (line,) = terminal.said()[1].splitlines()
    assert f"see that {tmp_path}/nothing has room and can be written" in line
