"""The exclusive claim on the kernel's disks of a LUN: while it is held, nobody here can mount, map or format them.

Theory of operation
-------------------
A LUN that is served as a file must have no other user on this host: the kernel's cache and ours would overwrite each
other.  Linux has one exclusive claim for each disk, which a mount, a mapping, an array and any open with O_EXCL
take, and which covers the partitions.  So the claim is both the test (it cannot be taken: in use) and the
protection (it is taken: nobody else gets it).

*Read-only.*  When a descriptor open for writing is closed, udev probes the disk anew; a read-only one leaves no trace.
*In a thread.*  Opening a disk waits for its host's error recovery, without bound: callers cancel.
*Briefly taken by others.*  Programs that look (ours too) take the claim for an instant, so it is tried again a few
times before anybody is accused.
"""

import errno as errno_codes
import os
import stat
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import trio

from mpio_fuse.device.users import HostRoots, Opener, find_openers, find_user
from mpio_fuse.errors import MpioError

_PAUSES_S = (0.02, 0.05, 0.1)
_HERE = HostRoots()

SERVED = "served by mpio-fuse"
"""What `in_use` says of a disk that a daemon has claimed, with its mountpoint when that is known."""

CLAIMED = "claimed exclusively"
"""What `in_use` says when the kernel refuses the claim and no user is seen: another container's mount, or a target."""


MountpointOf = Callable[[int], str | None]
"""What the daemon of that process ID serves its LUNs at; None when none of that ID tells.  Called in a thread."""


def untold(_pid: int) -> None:
    """As `MountpointOf`, of nobody."""


class DeviceInUse(MpioError):
    """The disk has another user on this host."""

    errno = errno_codes.EBUSY


async def in_use(
    block_device: str, roots: HostRoots = _HERE, mountpoint_of: MountpointOf = untold
) -> str | None:
    """Who uses the disk ``block_device`` (``sda``) on this host, as ``mounted on /srv``; None if nobody does.

    Without the permission to open the disk, or without a node for it, only what /proc and /sys show.
    """
    user = await _user(block_device, roots)
    if user != CLAIMED:
        return user
    return await _suspect(block_device, roots, mountpoint_of)


async def in_use_beside_daemons(block_device: str, roots: HostRoots = _HERE) -> str | None:
    """As `in_use`, but a disk that a daemon of ``mpio-fuse mount`` has claimed is not in use.

    Of a LUN's disks that nobody asked us to serve: another daemon keeps to the reservation as we do, no matter over
    which nexus, but a file system or a mapping writes whenever it likes.
    """
    user = await _user(block_device, roots)
    if user != CLAIMED:
        return user
    if any(opener.is_daemon for opener in await _openers(block_device, roots)):
        return None
    return await _suspect(block_device, roots, untold)


async def _user(block_device: str, roots: HostRoots) -> str | None:
    """The user that shows; CLAIMED when none does and the kernel refuses the claim nevertheless."""
    for pause_s in (*_PAUSES_S, None):
        user = await _seen_user(block_device, roots)
        if user is not None:
            return user
        if not await _is_refused(block_device, roots):
            return None
        if pause_s is not None:
            await trio.sleep(pause_s)
    return CLAIMED


class Claim:
    """Holds any number of disks of one LUN exclusively, from `add` to `close`."""

    def __init__(self, lun: str, roots: HostRoots = _HERE) -> None:
        self._lun = lun
        self._roots = roots
        self._held: dict[str, int] = {}

    @property
    def block_devices(self) -> tuple[str, ...]:
        """The disks held."""
        return tuple(self._held)

    async def add(self, block_device: str) -> None:
        """Claim one disk; one that is held already stays so.

        Raises:
            DeviceInUse: it has another user.
            MpioError: it cannot be opened.
        """
        if block_device in self._held:
            return
        for pause_s in (*_PAUSES_S, None):
            try:
                self._held[block_device] = await _opened(block_device, self._roots)
            except OSError as error:
                await self._check(block_device, error, is_last=pause_s is None)
            else:
                return
            if pause_s is not None:
                await trio.sleep(pause_s)

    def drop(self, block_device: str) -> None:
        """Give one disk up; nothing happens if it is not held."""
        fd = self._held.pop(block_device, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Give all disks up.  May be repeated."""
        for block_device in self.block_devices:
            self.drop(block_device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _check(self, block_device: str, error: OSError, *, is_last: bool) -> None:
        """Raise what an open that failed means, unless it is worth another try."""
        if error.errno != errno_codes.EBUSY:
            raise self._cannot_open(block_device, error) from error
        user = await _seen_user(block_device, self._roots)
        if user is None and not is_last:
            return
        raise DeviceInUse(
            f"in use on this host: {user or await _suspect(block_device, self._roots, untold)}",
            lun=self._lun,
            underpath=str(self._roots.dev / block_device),
            hint="end that use first, or leave this LUN out",
        ) from error

    def _cannot_open(self, block_device: str, error: OSError) -> MpioError:
        hint = {
            errno_codes.EACCES: "run as root or as a member of the node's group",
            errno_codes.ENOENT: "its node is missing below /dev; let udev make it",
            errno_codes.ENXIO: "its device is offline; set it running or remove it",
        }
        return MpioError(
            f"cannot be claimed: {error.strerror}",
            lun=self._lun,
            underpath=str(self._roots.dev / block_device),
            hint=hint.get(error.errno or 0, "see the kernel's log"),
        )


async def _is_refused(block_device: str, roots: HostRoots) -> bool:
    """Whether the kernel refuses the exclusive claim; other errors say nothing about users."""
    try:
        os.close(await _opened(block_device, roots))
    except OSError as error:
        return error.errno == errno_codes.EBUSY
    return False


async def _seen_user(block_device: str, roots: HostRoots) -> str | None:
    return await trio.to_thread.run_sync(find_user, block_device, roots, abandon_on_cancel=True)


async def _suspect(block_device: str, roots: HostRoots, mountpoint_of: MountpointOf) -> str:
    """Who may have the claim when no user in the kernel shows."""
    openers = await _openers(block_device, roots)
    daemon = next((opener for opener in openers if opener.is_daemon), None)
    if daemon is not None:
        place = await trio.to_thread.run_sync(mountpoint_of, daemon.pid, abandon_on_cancel=True)
        return f"{SERVED}{f' at {place}' if place else ''} (pid {daemon.pid})"
    if openers:
        return f"{CLAIMED}, and open in {openers[0]}"
    return f"{CLAIMED} by a user that does not show"


async def _openers(block_device: str, roots: HostRoots) -> list[Opener]:
    return await trio.to_thread.run_sync(find_openers, block_device, roots, abandon_on_cancel=True)


async def _opened(block_device: str, roots: HostRoots) -> int:
    """An exclusive descriptor on the disk.  When cancelled, whoever is last closes what was opened."""
    lock = threading.Lock()
    opened: list[int] = []
    is_wanted = True

    def open_if_wanted() -> None:
        fd = _open_exclusively(block_device, roots)
        with lock:
            if is_wanted:
                opened.append(fd)
            else:
                os.close(fd)

    try:
        await trio.to_thread.run_sync(open_if_wanted, abandon_on_cancel=True)
    except trio.Cancelled:
        with lock:
            is_wanted = False
            for fd in opened:
                os.close(fd)
        raise
    return opened[0]


def _open_exclusively(block_device: str, roots: HostRoots) -> int:
    fd = os.open(roots.dev / block_device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_disk(os.fstat(fd), block_device, roots)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_disk(status: os.stat_result, block_device: str, roots: HostRoots) -> None:
    """A claim on something else than the kernel's disk of that name would protect nothing."""
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    expected = (roots.sys / "class/block" / block_device / "dev").read_text().strip()
    if not stat.S_ISBLK(status.st_mode) or number != expected:
        raise OSError(errno_codes.ENODEV, f"the node is not the disk {block_device} ({expected})")
