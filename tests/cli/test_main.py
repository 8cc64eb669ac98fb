"""The command line's frame: one line on stderr, the right exit status, never a traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mpio_fuse.cli import main
from mpio_fuse.errors import MpioError, TransportError, UsageError


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *options: str) -> int:
    """The exit status when a subcommand raises."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: fails)
    return main.run([*options, "status"])


BUG = "unexpected ZeroDivisionError: oops; this is a bug: 'mpio-fuse --debug ...' shows where it came from"

CASES = [
    (MpioError("it broke", lun="naa.5", underpath="/dev/sg3", hint="mend it"), 1, "naa.5: /dev/sg3: it broke; mend it"),
    (TransportError("gone"), 1, "gone"),
    (UsageError("key 0 is not a key"), 2, "key 0 is not a key"),
    (MpioError("two\nlines \x1b[2J and\ta tab"), 1, "two lines ?[2J and a tab"),
    (click.ClickException("no such file"), 1, "no such file"),
    (click.BadParameter("not a number"), 2, "Invalid value: not a number; see 'mpio-fuse status --help'"),
    (ZeroDivisionError("oops"), 1, BUG),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "cannot write the output: No space left on device"),
    (ExceptionGroup("trio's", [MpioError("inside a nursery")]), 1, "inside a nursery"),
    (ExceptionGroup("trio's", [ExceptionGroup("nested", [UsageError("deep")])]), 2, "deep"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "line"), CASES)
def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    line: str,
) -> None:
    assert run_raising(monkeypatch, error) == status
    assert capsys.readouterr() == ("", f"mpio-fuse: {line}\n")


@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt(), BaseExceptionGroup("trio's", [KeyboardInterrupt()])]
)
def test_interrupted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    interrupt: BaseException,
) -> None:
    assert run_raising(monkeypatch, interrupt) == 130
    assert capsys.readouterr().err.strip() == ""


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, ZeroDivisionError("oops"), "--debug") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["discover", "--nonsense"], "No such option '--nonsense'"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("mpio-fuse: ")
    assert words in err


@pytest.mark.parametrize("group", ["persist", "underpath", "fault"])
def test_a_group_without_a_command_shows_its_help(
    capsys: pytest.CaptureFixture[str], group: str
) -> None:
    assert main.run([group]) == 2
    out, err = capsys.readouterr()
    assert main.run([group, "--help"]) == 0
    assert (out, err) == ("", capsys.readouterr().out)


def test_an_exit_status_of_a_subcommand_is_the_program_s(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def finds_nothing(context: click.Context) -> None:
        context.exit(1)

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: finds_nothing)
    assert main.run(["status"]) == 1


def test_help_imports_no_subcommand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: pytest.fail("imported"))
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in main.SUBCOMMANDS if f"\n  {name} " not in shown] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mpio-fuse, version ")


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_output_that_finds_no_room_is_one_line(buffering: dict[str, str]) -> None:
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mpio_fuse.cli.main", "--version"],
            stdout=full, stderr=subprocess.PIPE, text=True, env=inherited | buffering, check=False,
        )  # fmt: skip
    line = "mpio-fuse: cannot write the output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)
