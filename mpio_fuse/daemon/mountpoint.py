"""The mountpoint: fit to be mounted on, rid of a crashed daemon's leftovers, unmounted.

Nothing here touches a file below a mountpoint that is alive: a process that serves a tree must not wait for it.
"""

import errno
import os
import re
import stat
import subprocess
from pathlib import Path

import attrs

from mpio_fuse.daemon import kernel
from mpio_fuse.errors import MpioError, UsageError

FSTYPE = "fuse.mpio-fuse"
MOUNTINFO = Path("/proc/self/mountinfo")
FUSE_DEVICE = Path("/dev/fuse")

_DEAD = {errno.ENOTCONN, errno.ECONNABORTED}


@attrs.frozen
class Mount:
    """A line of /proc/PID/mountinfo (proc(5)); ``device`` is the ``major:minor`` of st_dev."""

    device: str
    mountpoint: str
    fstype: str
    source: str


def mounts(mountinfo: str) -> list[Mount]:
    """The mounts in the text of a mountinfo file, in the order they were made."""
    found = []
    for line in mountinfo.split("\n"):  # other control characters stand for themselves
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) >= 5 and len(types) >= 2:
            found.append(Mount(fields[2], _unescaped(fields[4]), types[0], _unescaped(types[1])))
    return found


def mounted_at(mountpoint: Path) -> Mount | None:
    """What is mounted there, the topmost; None if nothing is."""
    mountinfo = os.fsdecode(MOUNTINFO.read_bytes())  # names need not be UTF-8
    at = [one for one in mounts(mountinfo) if one.mountpoint == str(mountpoint)]
    return at[-1] if at else None


def absolute(mountpoint: str) -> Path:
    """The mountpoint as the kernel will show it: absolute, symbolic links followed.

    Raises:
        UsageError: the text is empty, which would otherwise mean the working directory.
    """
    if not mountpoint:
        raise UsageError("the mountpoint is empty", hint="name a directory")
    return Path(os.path.realpath(mountpoint))


def require_fuse(device: Path = FUSE_DEVICE) -> None:
    """See that this host has FUSE, and that we may use it.

    Raises:
        MpioError: it has not, or we may not.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError, OSError) as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "run as root, or let this user read and write it"
        else:
            hint = "load it with 'modprobe fuse', and install the package fuse3"
        raise MpioError(f"no FUSE here: {device}: {error.strerror}", hint=hint) from None


def prepare(mountpoint: Path) -> None:
    """See that a tree can be mounted there; a crashed daemon's dead mount is taken away first.

    Raises:
        MpioError: it is missing, not a directory, or mounted on already.
    """
    clear_dead(mountpoint)
    try:
        status = mountpoint.stat()
    except OSError as error:
        hint = "make the directory first" if error.errno == errno.ENOENT else None
        raise MpioError(f"mountpoint {mountpoint}: {error.strerror}", hint=hint) from None
    if not stat.S_ISDIR(status.st_mode):
        raise MpioError(f"mountpoint {mountpoint}: not a directory")
    mount = mounted_at(mountpoint)
    if mount is not None:
        what = f"mountpoint {mountpoint}: busy, {mount.source} ({mount.fstype}) is mounted there"
        raise MpioError(what, hint="unmount it first, or choose another directory")


def clear_dead(mountpoint: Path) -> bool:
    """Detach what crashed daemons of ours left there; whether there was anything.

    Raises:
        MpioError: it cannot be detached.
    """
    was_dead = False
    while is_dead(mountpoint):
        unmount(mountpoint, lazily=True)
        was_dead = True
    return was_dead


def is_dead(mountpoint: Path) -> bool:
    """Whether a tree of ours is mounted there that no process serves any more."""
    mount = mounted_at(mountpoint)
    if mount is None or mount.fstype != FSTYPE:
        return False
    try:
        os.statvfs(mountpoint)  # stat(2) could be answered from the kernel's cache
    except OSError as error:
        return error.errno in _DEAD
    return False


def unmount(mountpoint: Path, *, lazily: bool) -> None:
    """Unmount; ``lazily`` detaches it from the tree now, whoever uses it.

    Raises:
        OSError: EBUSY, it is in use.
        MpioError: it cannot be done for another reason.
    """
    try:
        if os.geteuid() == 0:
            kernel.umount2(str(mountpoint), lazily=lazily)
        else:
            _fusermount(mountpoint, lazily=lazily)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise
        raise MpioError(f"{mountpoint}: cannot be unmounted: {error.strerror}") from None


def _fusermount(mountpoint: Path, *, lazily: bool) -> None:
    """What an unprivileged user has instead of umount2(2)."""
    command = ["fusermount3", "-u", *(["-z"] if lazily else []), "--", str(mountpoint)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MpioError("fusermount3 is missing", hint="install the package fuse3") from None
    if done.returncode != 0:
        code = errno.EBUSY if "busy" in done.stderr.lower() else errno.EPERM
        raise OSError(code, done.stderr.strip() or os.strerror(code), str(mountpoint))


def _unescaped(field: str) -> str:
    """Blanks, tabs, newlines and backslashes are written as octal in mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
