"""``scripts/lab``: what a person or a script sees of it."""

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.launch import PROJECT_ROOT

LAB = str(PROJECT_ROOT / "scripts" / "lab")
BUSY = b"""python -c "$(printf 'import os\\nprint(os.ttyname(0))\\nwhile True: pass')"\n"""
QUICK = ("--fabric", "scsi_debug", "--hosts", "1")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory has to be empty again in the end."""
    yield {**os.environ, "TMPDIR": str(tmp_path)}
    assert list(tmp_path.iterdir()) == []


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAB, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_exit_status_and_streams_pass_through(environment: dict[str, str]) -> None:
    run = _run(environment, "run", *QUICK, "--", "set -- $A_NODES; echo $#; echo err >&2; exit 7")
    assert (run.returncode, run.stdout, run.stderr) == (7, "2\n", "err\n")


def test_at_the_limit_all_is_killed_and_what_was_said_is_passed_on(
    environment: dict[str, str],
) -> None:
    run = _run(environment, "run", *QUICK, "--timeout", "0.5", "--", "echo begun; sleep 1000")
    assert run.returncode == 124
    assert run.stdout == "begun\n"
    assert "lab: killed at the limit of 0.5 s" in run.stderr


def test_a_guest_that_dies_is_status_125(environment: dict[str, str]) -> None:
    run = _run(environment, "run", *QUICK, "--", "echo c >/proc/sysrq-trigger; sleep 1000")
    assert run.returncode == 125
    assert "lab: the guest died" in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["run", "--hosts", "0", "true"],
        ["run", "--luns", "0", "true"],
        ["run", "--size", "x", "true"],
    ],
)
def test_bad_arguments_are_status_2(environment: dict[str, str], arguments: list[str]) -> None:
    run = _run(environment, *arguments)
    assert run.returncode == 2
    assert "usage: scripts/lab" in run.stderr


def _supervisor_of(lab: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_output_streams_and_killing_it_ends_the_guest(
    environment: dict[str, str], how: signal.Signals
) -> None:
    command = [LAB, "run", *QUICK, "--timeout", "60", "--", "echo first; exec sleep 1000"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as lab:
        assert lab.stdout is not None
        assert lab.stdout.readline() == b"first\n"
        supervisor = os.pidfd_open(_supervisor_of(lab))
        lab.send_signal(how)
    # Ends once the guest is dead and its work directory gone, which the fixture then looks at.
    assert select.select([supervisor], [], [], 30)[0]
    os.close(supervisor)


def test_two_labs_at_once(environment: dict[str, str]) -> None:
    command = [LAB, "run", *QUICK, "--", "test ! -e /etc/other && echo x >/etc/other && sleep 0.5"]
    labs = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [lab.wait() for lab in labs] == [0, 0]


def test_a_shell_takes_a_pipe(environment: dict[str, str]) -> None:
    run = subprocess.run(
        [LAB, "shell", *QUICK],
        env=environment,
        input=b"echo nodes: $A_NODES; (exit 5)\n",
        capture_output=True,
        check=False,
    )
    assert b"nodes: /dev/sg" in run.stdout
    assert run.returncode == 5


def test_a_shell_is_interactive_on_a_terminal(environment: dict[str, str]) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen([LAB, "shell", *QUICK], env=environment, stdin=its, stdout=its) as lab:
        os.close(its)
        _read_until(ours, b"lab:")
        # A shell between two commands would take no notice of Ctrl-C, nor would Python on its way to sleep.
        os.write(ours, BUSY)
        _read_until(ours, b"/dev/ttyS1")
        os.write(ours, b"\x03")  # Ctrl-C is the guest's, not ours
        _read_until(ours, b"KeyboardInterrupt")
        os.write(ours, b"exit 6\n")
        assert lab.wait() == 6
    os.close(ours)


def _read_until(fd: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        assert select.select([fd], [], [], 30)[0], f"no {text!r} after {seen!r}"
        seen += os.read(fd, 4096)
