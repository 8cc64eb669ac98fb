"""Locks, leftovers, and clients that misbehave."""

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from mpio_fuse.daemon import control, control_server
from mpio_fuse.daemon.control import Endpoint, Lock, NotRunning, Owner, daemon_pid
from mpio_fuse.errors import MpioError

ROOT = Path("/mnt/luns")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with tempfile.TemporaryDirectory(prefix="mpio-") as directory:
        monkeypatch.setenv("MPIO_FUSE_RUN_DIR", directory)
        yield control.endpoint(ROOT)


def test_mountpoints_that_look_alike_have_files_of_their_own(place: Endpoint) -> None:
    names = {control.endpoint(Path(text)).socket for text in ("/mnt/luns", "/mnt-luns", "/mnt/l")}
    assert len(names) == 3
    assert place.socket in names


def test_a_socket_name_stays_short_however_deep_the_mountpoint() -> None:
    assert len(control.endpoint(Path("/a" * 400)).socket.name) < 50


def test_one_lock_at_a_time(place: Endpoint) -> None:
    lock = Lock.take(place, ROOT)
    assert lock is not None
    assert Lock.take(place, ROOT) is None
    assert daemon_pid(place) == os.getpid()
    assert control.endpoints() == [place]
    lock.release()
    assert daemon_pid(place) is None
    assert control.endpoints() == []


def test_a_dead_holders_lock_is_leftovers(place: Endpoint) -> None:
    code = (
        "from pathlib import Path; from mpio_fuse.daemon import control\n"
        "place = control.endpoint(Path('/mnt/luns'))\n"
        "control.Lock.take(place, Path('/mnt/luns')); place.socket.touch()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert place.lock.exists()
    assert daemon_pid(place) is None
    assert control.clear_leftovers(place)
    assert not place.lock.exists()
    assert not place.socket.exists()
    assert not control.clear_leftovers(place)


def test_a_lock_that_somebody_is_about_to_take_is_nobodys(place: Endpoint) -> None:
    place.lock.touch()
    assert control.owner(place) is None


def test_a_lock_names_its_mountpoint_whatever_its_name(place: Endpoint) -> None:
    root = Path(os.fsdecode(b"/mnt/a\nb\xff " + b"c" * 4000))
    lock = Lock.take(place, root)
    assert lock is not None
    assert control.owner(place) == Owner(os.getpid(), str(root), lives=True)
    lock.release()


def test_a_lock_made_anew_while_we_wait_is_the_one_taken(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its former owner removes the file between our opening and our locking it."""
    real, locked = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        locked.append(fd)
        if len(locked) == 1:
            place.lock.unlink()
        real(fd, operation)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        lock = Lock.take(place, ROOT)
    assert lock is not None
    assert len(locked) == 2
    assert daemon_pid(place) == os.getpid()
    lock.release()


def test_a_lock_that_somebody_only_looks_at_is_taken(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As status does, for a moment, with a lock that a dead daemon has left."""
    place.lock.touch()
    looking = os.open(place.lock, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        try:
            real(fd, operation)
        except BlockingIOError:
            real(looking, fcntl.LOCK_UN)
            raise

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        lock = Lock.take(place, ROOT)
    os.close(looking)
    assert lock is not None
    lock.release()


async def _answer(request: dict[str, Any]) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    if request.get("request") == "fail":
        raise MpioError("refused", hint="ask for something else")
    if request.get("request") == "bug":
        raise ZeroDivisionError
    return {"ok": True, "asked": request}


@asynccontextmanager
async def _serving(place: Endpoint) -> AsyncIterator[None]:
    closing = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control_server.serve, control_server.listen(place), _answer, closing)
        yield
        closing.set()


async def _ask(place: Endpoint, request: dict[str, Any]) -> dict[str, Any]:
    return await trio.to_thread.run_sync(control.ask, place, request, None)


async def test_a_request_is_answered(place: Endpoint) -> None:
    async with _serving(place):
        reply = await _ask(place, {"request": "x" * 1000})
    assert reply["asked"] == {"request": "x" * 1000}


async def test_only_the_owner_may_ask(place: Endpoint) -> None:
    async with _serving(place):
        assert place.socket.stat().st_mode & 0o777 == 0o600


async def test_a_refusal_is_an_error_with_its_hint(place: Endpoint) -> None:
    async with _serving(place):
        with pytest.raises(MpioError, match="refused; ask for something else"):
            await _ask(place, {"request": "fail"})


@pytest.mark.expects_log("control request failed unexpectedly")
async def test_a_bug_ends_one_conversation_only(place: Endpoint) -> None:
    async with _serving(place):
        with pytest.raises(MpioError, match="unexpected error; see the daemon's log"):
            await _ask(place, {"request": "bug"})
        assert (await _ask(place, {}))["ok"]


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b"\xff\n", b"x" * 5000])
async def test_nonsense_is_refused_and_the_server_goes_on(place: Endpoint, line: bytes) -> None:
    async with _serving(place):
        stream = await trio.open_unix_socket(place.socket)
        async with stream:
            await stream.send_all(line)
            reply = json.loads(await stream.receive_some())
        assert reply["error"] == "not a request: one JSON object on one line"
        assert (await _ask(place, {}))["ok"]


async def test_a_client_that_hangs_up_harms_nobody(place: Endpoint) -> None:
    async with _serving(place):
        await (await trio.open_unix_socket(place.socket)).aclose()
        assert (await _ask(place, {}))["ok"]


def test_nobody_there(place: Endpoint) -> None:
    with pytest.raises(NotRunning, match="no daemon answers"):
        control.ask(place, {}, None)


def test_a_daemon_that_does_not_answer_is_not_waited_for(place: Endpoint) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.socket))
        listening.listen()
        with pytest.raises(MpioError, match="does not answer; look at its log"):
            control.ask(place, {}, timeout_s=0.01)


def _no_room(_fd: int, _data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_run_directory_is_named_with_the_next_step(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (
        f"run directory {place.base.parent}: No space left on device; "
        "make room there, or name another directory in MPIO_FUSE_RUN_DIR"
    )
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _no_room)
        with pytest.raises(MpioError, match=re.escape(line)):
            Lock.take(place, ROOT)
    assert not place.lock.exists()
    lock = Lock.take(place, ROOT)
    assert lock is not None
    lock.release()


def test_leftovers_are_cleared_without_any_room(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.lock.touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _no_room)
        assert control.clear_leftovers(place)
    assert not place.lock.exists()


def test_files_that_cannot_be_made_or_removed_are_one_line(place: Endpoint) -> None:
    lock = Lock.take(place, ROOT)
    assert lock is not None
    place.socket.mkdir()
    what = f"run directory {place.base.parent}: Is a directory; see that it can be written"
    with pytest.raises(MpioError, match=re.escape(what)):
        control_server.listen(place)
    with pytest.raises(MpioError, match=re.escape(what)):
        lock.release()
    assert daemon_pid(place) is None


@contextmanager
def _as_nobody() -> Iterator[None]:
    """For the file system and geteuid we are another user, if the tests run as root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


NOT_ALLOWED = r"no permission to ask the daemon \(.*\); run as root, or as the user who mounted"


def test_a_run_directory_that_may_not_be_read_is_not_empty(place: Endpoint) -> None:
    lock = Lock.take(place, ROOT)
    assert lock is not None
    place.base.parent.chmod(0)
    with _as_nobody():
        with pytest.raises(MpioError, match=NOT_ALLOWED):
            control.endpoints()
        with pytest.raises(MpioError, match=NOT_ALLOWED):
            daemon_pid(place)
    place.base.parent.chmod(0o700)
    lock.release()


async def test_another_user_is_told_to_be_root(place: Endpoint) -> None:
    async with _serving(place):
        place.base.parent.chmod(0)
        with _as_nobody(), pytest.raises(MpioError, match=NOT_ALLOWED):
            control.ask(place, {}, None)
        place.base.parent.chmod(0o700)


def test_where_a_user_has_no_daemon_root_s_is_named(
    place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ROOTS_RUN_DIRECTORY", place.base.parent)
    monkeypatch.delenv(control.RUN_DIRECTORY_VARIABLE)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    control.refuse_roots()
    lock = Lock.take(place, ROOT)
    assert lock is not None
    for name in ("*", place.base.name):
        with pytest.raises(MpioError, match=NOT_ALLOWED):
            control.refuse_roots(name)
    control.refuse_roots("another")
    lock.release()
