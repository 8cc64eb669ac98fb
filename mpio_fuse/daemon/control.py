"""Speaking to daemons: where their control sockets are, and one request with its reply.

Theory of operation
-------------------
Each daemon has two files in the run directory, both named after its mountpoint: a Unix socket, and a lock, which it
holds with flock(2) for as long as it lives and which contains its process ID on a line and then its mountpoint.  The
lock is the truth about who is alive: the kernel gives it up however a process ends.  So a lock that can be taken
marks leftovers, and whoever takes it may remove them.

A request is one line of JSON, and so is the reply: ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from mpio_fuse.errors import MpioError

RUN_DIRECTORY_VARIABLE = "MPIO_FUSE_RUN_DIR"
ROOTS_RUN_DIRECTORY = Path("/run/mpio-fuse")
MAXIMUM_LINE_BYTES = 16 << 20
MAXIMUM_LOCK_BYTES = 8192
"""A process ID and a mountpoint; a path has 4096 at most."""

STATUS_TIMEOUT_S = 5.0
"""A daemon answers status from memory; one that takes longer is stuck."""


class NotRunning(MpioError):
    """No daemon serves that mountpoint, or none at all."""


@attrs.frozen
class Endpoint:
    """One daemon's files.  ``base`` has no suffix yet."""

    base: Path

    @property
    def lock(self) -> Path:
        return self.base.with_name(f"{self.base.name}.lock")

    @property
    def socket(self) -> Path:
        return self.base.with_name(f"{self.base.name}.sock")

    @property
    def log(self) -> Path:
        return self.base.with_name(f"{self.base.name}.log")


def run_directory() -> Path:
    """Where control sockets are: one directory for root's daemons, one for each other user's."""
    if chosen := os.environ.get(RUN_DIRECTORY_VARIABLE):
        return Path(chosen)
    if os.geteuid() == 0:
        return ROOTS_RUN_DIRECTORY
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "mpio-fuse"
    return Path(tempfile.gettempdir()) / f"mpio-fuse-{os.geteuid()}"


def make_run_directory() -> Path:
    """Make it, if need be; nobody else may write there, or they could pose as a daemon.

    Raises:
        MpioError: it cannot be made, or belongs to somebody else.
    """
    directory = run_directory()
    with using_run_directory(directory):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        owner = directory.stat().st_uid
    if owner not in (os.geteuid(), 0):
        raise MpioError(f"run directory {directory}: belongs to uid {owner}")
    return directory


@contextmanager
def using_run_directory(directory: Path) -> Iterator[None]:
    """Turn what the operating system says of files there into one line that names the directory.

    Raises:
        MpioError: a file there could not be made, written or removed.
    """
    try:
        yield
    except OSError as error:
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        step = "make room there" if is_full else "see that it can be written"
        hint = f"{step}, or name another directory in {RUN_DIRECTORY_VARIABLE}"
        what = error.strerror or error  # a name too long for a socket has no errno
        raise MpioError(f"run directory {directory}: {what}", hint=hint) from None


def endpoint(mountpoint: Path) -> Endpoint:
    """A mountpoint's daemon's files: readable, unique, and short enough for a socket's name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", str(mountpoint)).strip("-")[-24:] or "root"
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:12]
    return Endpoint(run_directory() / f"{readable}-{digest}")


class Lock:
    """A daemon's proof of life; released when the process ends, however it ends."""

    def __init__(self, place: Endpoint, fd: int) -> None:
        self._place = place
        self._fd = fd

    @classmethod
    def take(cls, place: Endpoint, mountpoint: Path) -> "Lock | None":
        """Take the lock and write who we are; None when a living daemon has it.

        Raises:
            MpioError: the lock cannot be made or written; then it is not there.
        """
        lock = cls.take_as_is(place)
        if lock is None:
            return None
        try:
            lock._write(b"%d\n%b" % (os.getpid(), os.fsencode(mountpoint)))  # noqa: SLF001 - same class
        except MpioError:
            lock.release()
            raise
        return lock

    @classmethod
    def take_as_is(cls, place: Endpoint) -> "Lock | None":
        """Take the lock and write nothing, which needs no room; None when a living daemon has it.

        Raises:
            MpioError: the lock cannot be made.
        """
        while True:
            with using_run_directory(place.base.parent):
                fd = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                is_taken = _is_locked(fd)
                os.close(fd)
                if is_taken:
                    return None
                continue  # somebody was looking whether it is
            if _is_still_there(place.lock, fd):
                return cls(place, fd)
            os.close(fd)  # its owner removed it while we waited to lock it

    def _write(self, who: bytes) -> None:
        with using_run_directory(self._place.base.parent):
            os.ftruncate(self._fd, 0)
            os.write(self._fd, who)

    def release(self) -> None:
        """Remove the daemon's files and let go; the lock last, so that nobody finds the socket unlocked.

        Raises:
            MpioError: the files cannot be removed; the lock is given up all the same.
        """
        try:
            with using_run_directory(self._place.base.parent):
                self._place.socket.unlink(missing_ok=True)
                self._place.lock.unlink(missing_ok=True)
        finally:
            os.close(self._fd)


def _is_still_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


@attrs.frozen
class Owner:
    """Who a lock's file says took it last.  ``lives``: and has it still."""

    pid: int
    mountpoint: str
    lives: bool


def owner(place: Endpoint) -> Owner | None:
    """The daemon there, or the one that ended without unmounting; None when there is neither.

    Raises:
        MpioError: we may not look.
    """
    try:
        fd = os.open(place.lock, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise _not_allowed(place.lock) from None
    except OSError:
        return None
    try:
        lives = _is_locked(fd)
        pid, _, mountpoint = os.read(fd, MAXIMUM_LOCK_BYTES).partition(b"\n")
    finally:
        os.close(fd)
    if not lives and not pid:
        return None  # whoever is about to lock it has just made it
    return Owner(int(pid) if pid.isdigit() else 0, os.fsdecode(mountpoint), lives)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def daemon_pid(place: Endpoint) -> int | None:
    """The process ID in a lock that is held; None when no daemon lives.  Raises as `owner`."""
    found = owner(place)
    return found.pid if found is not None and found.lives else None


def wait_until_gone(place: Endpoint) -> None:
    """Wait until the daemon there has let go of its lock, so that another can start."""
    try:
        fd = os.open(place.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def clear_leftovers(place: Endpoint) -> bool:
    """Remove the files of a daemon that has crashed; whether there were any.

    Raises:
        MpioError: they cannot be removed.
    """
    with using_run_directory(place.base.parent):
        was_there = place.lock.exists() or place.socket.exists()
    lock = Lock.take_as_is(place) if was_there else None
    if lock is not None:
        lock.release()
    return was_there


def endpoints() -> list[Endpoint]:
    """All daemons that have left files, alive or not, in order of their names.

    Raises:
        MpioError: the run directory cannot be read.
    """
    directory = run_directory()
    try:
        locks = sorted(file for file in directory.iterdir() if file.suffix == ".lock")
    except FileNotFoundError:
        return []
    except PermissionError:
        raise _not_allowed(directory) from None
    except OSError as error:
        raise MpioError(f"run directory {directory}: {error.strerror}") from None
    return [Endpoint(lock.with_suffix("")) for lock in locks]


def refuse_roots(name: str = "*") -> None:
    """Where we find no daemon of ours: see that none of root's, which only root may ask, was meant.

    Raises:
        MpioError: one of root's lives.
    """
    if os.geteuid() == 0 or RUN_DIRECTORY_VARIABLE in os.environ:
        return
    for lock in ROOTS_RUN_DIRECTORY.glob(f"{name}.lock"):
        place = Endpoint(lock.with_suffix(""))
        if daemon_pid(place) is not None:
            raise _not_allowed(place.socket)


def ask(place: Endpoint, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
    """Send one request to a daemon and wait for its reply.

    Raises:
        NotRunning: nobody answers there.
        MpioError: the daemon refused, took too long, or may not be asked.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(place.socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAXIMUM_LINE_BYTES)
        except TimeoutError:
            hint = "look at its log, or kill its process"
            raise MpioError(f"the daemon at {place.socket} does not answer", hint=hint) from None
        except OSError as error:
            raise _unreachable(place, error) from None
    return _reply(place, line)


def _unreachable(place: Endpoint, error: OSError) -> MpioError:
    if isinstance(error, PermissionError):
        return _not_allowed(place.socket)
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET):
        return NotRunning(f"no daemon answers at {place.socket}")
    return MpioError(f"the daemon at {place.socket} cannot be asked: {error.strerror}")


def _not_allowed(file: Path) -> MpioError:
    hint = "run as root, or as the user who mounted"
    return MpioError(f"no permission to ask the daemon ({file})", hint=hint)


def _reply(place: Endpoint, line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise NotRunning(f"the daemon at {place.socket} ended without an answer")
    if not reply.get("ok"):
        raise MpioError(str(reply.get("error", "refused")), hint=reply.get("hint"))
    return reply
