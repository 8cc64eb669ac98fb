"""A guest: what it shares with the machine and what not, and what is left when it ends."""

import signal
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab import job, launch, prerequisites
from tests.lab.errors import (
    CommandFailedError,
    GuestDiedError,
    GuestTimeoutError,
    LabError,
    MissingPrerequisiteError,
)
from tests.lab.guest import Guest
from tests.lab.launch import GuestSettings


@pytest.fixture(scope="module")
def shared_guest() -> Iterator[Guest]:
    with Guest() as guest:
        yield guest


# Commands ---------------------------------------------------------------------------------------


def test_status_and_both_streams_come_back(shared_guest: Guest) -> None:
    result = shared_guest.run("echo out; echo err >&2; exit 7")
    assert (result.status, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_words_are_not_shell_text(shared_guest: Guest) -> None:
    assert shared_guest.run(["echo", "$HOME", "a  b;c"]).stdout == "$HOME a  b;c\n"


def test_environment_directory_and_stdin_go_in(shared_guest: Guest) -> None:
    result = shared_guest.run(
        'cat; echo "$WORD"; pwd', environment={"WORD": "it's"}, cwd="/usr", stdin=b"in\n"
    )
    assert result.stdout == "in\nit's\n/usr\n"


def test_a_failed_check_shows_the_command_and_its_stderr(shared_guest: Guest) -> None:
    with pytest.raises(CommandFailedError, match=r"exit status 3: .*exit 3\nwhy"):
        shared_guest.run("echo why >&2; exit 3").check()


def test_output_is_there_before_the_end(shared_guest: Guest) -> None:
    background = shared_guest.spawn("echo first; exec sleep 1000")
    background.wait_for_output("first")
    assert background.running
    background.signal(signal.SIGTERM)
    assert background.wait().status == 128 + signal.SIGTERM


def test_a_command_can_be_interrupted(shared_guest: Guest) -> None:
    loop = "print('begun', flush=True)\nwhile True: pass"
    background = shared_guest.spawn(["python", "-c", loop])
    background.wait_for_output("begun")
    background.signal(signal.SIGINT)
    assert "KeyboardInterrupt" in background.wait().stderr


def test_waiting_for_output_that_never_comes_ends_with_the_command(shared_guest: Guest) -> None:
    with pytest.raises(LabError, match="ended without writing 'first'"):
        shared_guest.spawn("echo second").wait_for_output("first")


def test_at_the_limit_the_command_and_its_children_are_killed(shared_guest: Guest) -> None:
    with pytest.raises(GuestTimeoutError, match=r"after 0\.5 s: .*\nbegun"):
        shared_guest.run("echo begun; sleep 1234 & sleep 1235", timeout_s=0.5)
    assert shared_guest.run("pgrep -f 'sleep [1]23'").stdout == ""


def test_the_projects_python_runs_and_fuse_is_there(shared_guest: Guest) -> None:
    shared_guest.run("python -c 'import trio, pyfuse3'").check()
    shared_guest.run("modprobe fuse && test -c /dev/fuse").check()


# What is shared ---------------------------------------------------------------------------------


@pytest.mark.parametrize("directory", [Path("/etc"), launch.PROJECT_ROOT])
def test_what_the_guest_writes_stays_in_the_guest(shared_guest: Guest, directory: Path) -> None:
    file = directory / "written-in-a-lab-guest"
    assert shared_guest.run(f"echo x >{file} && cat {file}").check().stdout == "x\n"
    assert not file.exists()


def test_a_checkout_below_tmp_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = partial(tempfile.TemporaryDirectory, dir="/tmp")  # noqa: S108
    with temporary() as checkout, temporary() as other:
        (Path(checkout) / "file").write_text("seen")
        monkeypatch.setattr(launch, "PROJECT_ROOT", Path(checkout))
        with Guest() as guest:
            assert (
                guest.run(f"cat file; echo changed >file; test ! -e {other}").check().stdout
                == "seen"
            )
        assert (Path(checkout) / "file").read_text() == "seen"


def test_two_guests_at_once_know_nothing_of_each_other() -> None:
    with Guest() as one, Guest() as other:
        one.run("echo x >/tmp/x; echo x >/etc/x").check()
        assert other.run("cat /tmp/x /etc/x").status != 0
        assert one.run("cat /tmp/x /etc/x").stdout == "x\nx\n"


# The end ----------------------------------------------------------------------------------------


def _processes_naming(path: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if str(path) in words:
            found.append(words)
    return found


@pytest.mark.parametrize("namespaces", [True, False])
def test_nothing_is_left(monkeypatch: pytest.MonkeyPatch, *, namespaces: bool) -> None:
    if not namespaces:  # as for a user who may not make them
        monkeypatch.setattr(launch, "can_unshare", lambda: False)
    with Guest() as guest:
        work = guest.work
        guest.spawn("sleep 1000")
        assert work.exists()
        assert _processes_naming(work)
    assert not work.exists()
    assert _processes_naming(work) == []


def test_a_hung_guest_is_stopped_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "KILL_GRACE_S", 0.1)
    with Guest() as guest:
        guest.freeze()
        with pytest.raises(GuestTimeoutError):
            guest.run("true", timeout_s=0.1)
        assert not guest.alive
        with pytest.raises(GuestDiedError, match="stopped"):
            guest.run("true")


def test_a_frozen_guest_goes_on_when_thawed(shared_guest: Guest) -> None:
    shared_guest.freeze()
    background = shared_guest.spawn("echo thawed")
    shared_guest.thaw()
    assert background.wait().stdout == "thawed\n"


def test_a_guest_that_dies_shows_its_console() -> None:
    with (
        Guest() as guest,
        pytest.raises(GuestDiedError, match=r"(?s)console ends with.*Kernel panic"),
    ):
        guest.run("echo c >/proc/sysrq-trigger; sleep 1000")


def test_a_guest_that_does_not_boot_shows_its_console() -> None:
    settings = GuestSettings(kernel_arguments=("init=/no/such/init",))
    with pytest.raises(GuestDiedError, match=r"(?s)console ends with.*no/such/init"):
        Guest(settings).__enter__()


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "SEARCH_PATH", "/nowhere")
    with pytest.raises(
        MissingPrerequisiteError, match=r"linux\.uml.*apt-get install .*user-mode-linux"
    ):
        Guest().launch()
