"""Who on this host uses a disk: looked up by name, so that an administrator knows what to take away.

Kernel users (a mount, a mapping, an array, swap, a loop device) are found through /proc and /sys.  That none is found
proves nothing: a mount in another container's namespace, say, is invisible.  The proof is the kernel's
exclusive claim (`mpio_fuse.device.claim`).  The kernel does not tell which program has claimed a disk, only which
ones have it open.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

_PROGRAM = "mpio-fuse"
_MODULE = "mpio_fuse.cli.main"
"""How a daemon's command line begins: ``mpio-fuse mount`` in the foreground, ``python -m`` in the background."""


@attrs.frozen
class HostRoots:
    """Where the kernel is looked at; by default where it is."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


@attrs.frozen
class _Part:
    """A whole disk or one of its partitions: the kernel's name, and ``major:minor``."""

    name: str
    number: str
    sysfs: Path


def find_user(block_device: str, roots: HostRoots = HostRoots()) -> str | None:
    """Who uses the disk ``block_device`` (``sda``) or a partition of it, as ``mounted on /srv``.

    None if nobody is seen.
    """
    parts = list(_parts(block_device, roots))
    finders = (_mounts, _swaps, _holders, _loops)
    return next((user for find in finders for user in find(parts, roots)), None)


@attrs.frozen
class Opener:
    """A program that has a disk open.  ``is_daemon``: it is a daemon of ``mpio-fuse mount``, by its command line."""

    pid: int
    name: str
    is_daemon: bool

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def find_openers(block_device: str, roots: HostRoots = HostRoots()) -> list[Opener]:
    """The programs that have the disk or a partition of it open.  Others' open files can be seen by root only."""
    nodes = {str(roots.dev / part.name) for part in _parts(block_device, roots)}
    return [
        Opener(int(process.name), _printable(_text(process / "comm")), _is_daemon(process))
        for process in _entries(roots.proc)
        if process.name.isdecimal()
        and any(_target(file) in nodes for file in _entries(process / "fd"))
    ]


def _is_daemon(process: Path) -> bool:
    words = _text(process / "cmdline").split("\0")
    is_ours = any(word == _MODULE or Path(word).name == _PROGRAM for word in words[:3])
    return is_ours and "mount" in words


def _parts(block_device: str, roots: HostRoots) -> Iterator[_Part]:
    disk = roots.sys / "class/block" / block_device
    yield _Part(block_device, _text(disk / "dev"), disk)
    for entry in _entries(disk):
        if (entry / "partition").exists():
            yield _Part(entry.name, _text(entry / "dev"), entry)


def _mounts(parts: list[_Part], roots: HostRoots) -> Iterator[str]:
    """By number (proc_pid_mountinfo(5), field 3), or by name: btrfs has numbers of its own."""
    for line in _text(roots.proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, source = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(source) < 2:
            continue
        for part in parts:
            if fields[2] == part.number or _is_node_of(part, source[1], roots):
                yield _of(part, parts, f"mounted on {_unescaped(fields[4])}")


def _swaps(parts: list[_Part], roots: HostRoots) -> Iterator[str]:
    for line in _text(roots.proc / "swaps").splitlines()[1:]:
        node = line.split(" ")[0].split("\t")[0]
        for part in parts:
            if _is_node_of(part, node, roots):
                yield _of(part, parts, "used as swap")


def _holders(parts: list[_Part], roots: HostRoots) -> Iterator[str]:
    """Device-mapper (LVM, multipath, dm-crypt), md and bcache list themselves below the disk they hold."""
    for part in parts:
        for holder in _entries(part.sysfs / "holders"):
            mapped = _text(roots.sys / "class/block" / holder.name / "dm/name")
            name = f"{holder.name} ({_printable(mapped)})" if mapped else holder.name
            yield _of(part, parts, f"held by {name}")


def _loops(parts: list[_Part], roots: HostRoots) -> Iterator[str]:
    for device in _entries(roots.sys / "class/block"):
        backing = _text(device / "loop/backing_file") if device.name.startswith("loop") else ""
        for part in parts:
            if backing and _is_node_of(part, backing, roots):
                yield _of(part, parts, f"held by {device.name}")


def _is_node_of(part: _Part, node: str, roots: HostRoots) -> bool:
    """Whether ``node`` names the part's device node, perhaps through links such as those in /dev/disk."""
    path = Path(_unescaped(node))
    if not path.is_absolute():
        return False
    ours = roots.dev / part.name
    return ours in (path, Path(os.path.realpath(path)))


def _of(part: _Part, parts: list[_Part], what: str) -> str:
    """Say which partition, when it is not the whole disk."""
    return what if part is parts[0] else f"partition {part.name} {what}"


def _unescaped(text: str) -> str:
    """Undo the kernel's octal escapes (proc_pid_mountinfo(5)), and keep what is left printable."""
    plain = re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)
    return _printable(plain)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
