"""The file system as an object that knows no FUSE: requests in, answers or `MpioError` out.

Theory of operation
-------------------
A `FileSystem` holds the namespace and the table of open files.  It takes plain numbers and bytes and every
error it raises carries the errno the caller is to see; turning the two into FUSE's own types is the adapter's work
(`mpio_fuse.fs.operations`).

*The page cache.*  While this host holds a LUN's reservation nobody else can write, so the kernel may cache the
file's pages.  But the kernel caches by inode, and a LUN has several: its file in the root, and one for each set of
options in ``.ext``.  Five rules keep the cache honest:

1. Only a handle that owns the reservation is cached; any other is direct.  So is a file opened with O_DIRECT: not
   for honesty, but for speed.  What the kernel caches it also asks the size of, before the first read after each write
   (GETATTR), and has the reader wait for it.
2. Of all inodes of a LUN one at a time is cached: the one of the cached files that are open now.  A file
   opened meanwhile through another inode is direct.  It can do all but a shared mmap(2), which the kernel
   refuses (ENODEV) for direct files; once the others are closed, the next open by any name is cached again.
3. An open keeps what is cached only when another cached file of its inode is open right now: the reservation was
   then held without a break since those pages were read.  When the device is fenced all pages are dropped,
   and no open file from before counts for rules 2 and 3 any more (``tenure`` rises).
4. A write through a direct file drops the pages that cached files of the same LUN have of it, before it returns,
   also when it fails: some of it may be on the disk.
5. While a file from before the last fencing is still open (mapped memory keeps its file open), every new open of
   its LUN is direct, by whatever name.  The kernel writes a dirty page of an inode through any writable file that
   has mapped the inode, and lets every file read it: beside a new cached file, stores through the fenced file's
   mapping would reach the disk in the new one's name.  Direct files lend themselves to neither.  Once those
   from before are closed, the next open is cached again.

What a program has changed in mapped memory and not yet synced (msync(2)) is no write so far: files of another inode,
and direct ones, do not see it.

*Options.*  The flags and the directory of an open add up; the LUN's configured default counts when neither names
any.

*Flushing.*  close(2) reports what release cannot: a file that has written since its last flush is flushed then,
so the closer sees the error.  Writes of a durable file are on the medium already.

*Invariant.*  Between a device's granting an open and its entry in the table there is no await: `aclose` finds every
handle there ever was.
"""

import errno
import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs
import trio

from mpio_fuse.errors import UsageError
from mpio_fuse.fs.attributes import Attributes, Ownership, attributes
from mpio_fuse.fs.caller import Caller, may_force
from mpio_fuse.fs.flags import FLAG_OPTIONS, OpenRequest, open_request
from mpio_fuse.fs.namespace import DeviceFile, Namespace, Node
from mpio_fuse.fs.refused import Refused
from mpio_fuse.fs.served import Buffer, OpenHandle, ServedDevice
from mpio_fuse.reserve.fig07_decision import OpenOption, check_options
from mpio_fuse.reserve.option_words import spell_options


@attrs.define(eq=False)
class OpenFile:
    """One open file description.

    ``is_direct``: the kernel keeps no pages of what this file reads and writes.  ``tenure`` is the device's at
    the time it was opened.
    """

    node: DeviceFile
    handle: OpenHandle
    options: OpenOption
    durable: bool
    caller: Caller
    tenure: int
    is_direct: bool
    is_unflushed: bool = False
    is_closing: bool = False


@attrs.frozen
class Opened:
    """An open's answer, in the terms of FUSE's open reply."""

    fh: int
    direct_io: bool
    keep_cache: bool


@attrs.frozen
class Changes:
    """What a setattr asks for; None: leave it.  Times are not here: they may be set, to no effect."""

    size_bytes: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@attrs.frozen
class Totals:
    """Of the whole tree, for statfs."""

    size_bytes: int
    files: int


def _spelt(node: DeviceFile, request: OpenRequest) -> str:
    """How an open has said what it wants."""
    directory = [f"directory {spell_options(node.options)}"] if node.options else []
    return ", ".join([*directory, *request.spelt])


NO_DEFAULTS: Mapping[str, OpenOption] = MappingProxyType({})


async def _nothing_cached(_inode: int) -> None:
    """What dropping the page cache means where there is none."""


class FileSystem:
    """See the module's docstring."""

    def __init__(
        self,
        namespace: Namespace,
        *,
        ownership: Ownership,
        time_ns: int,
        force_group: int | None = None,
        flag_options: Mapping[int, OpenOption] = FLAG_OPTIONS,
        default_options: Mapping[str, OpenOption] = NO_DEFAULTS,
    ) -> None:
        """Serve a namespace.

        Args:
            namespace: its files.
            ownership: of all of them.
            time_ns: the only time they know.
            force_group: whose members may force a LUN open, besides root.
            flag_options: the options that flags stand for.
            default_options: by the device's name, of an open that names none.
        """
        self.namespace = namespace
        self.drop_cache: Callable[[int], Awaitable[None]] = _nothing_cached
        self._ownership = ownership
        self._time_ns = time_ns
        self._force_group = force_group
        self._flag_options = flag_options
        self._default_options = default_options
        self._open_files: dict[int, OpenFile] = {}
        self._numbers = itertools.count(1)
        self._tenures: Counter[ServedDevice] = Counter()
        self._is_draining = False
        self._stale, self._stale_inodes = trio.open_memory_channel[int](math.inf)
        for file in namespace.files:
            file.device.on_fenced = partial(self._fenced, file.device)

    # Names and attributes.  None of these awaits or does I/O: a hung LUN does not hold up ls(1).

    def getattr(self, inode: int) -> Attributes:
        return self._attributes(self.namespace.node(inode))

    def lookup(self, parent_inode: int, name: bytes) -> Attributes:
        return self._attributes(self.namespace.lookup(parent_inode, name))

    def readdir(self, inode: int) -> list[tuple[bytes, Attributes]]:
        """The directory's entries, in an order that never changes."""
        entries = self.namespace.directory(inode).entries
        return [(name, self._attributes(node)) for name, node in entries.items()]

    def statfs(self) -> Totals:
        files = self.namespace.files
        return Totals(sum(file.device.size_bytes for file in files), len(files))

    def setattr(self, inode: int, changes: Changes) -> Attributes:
        """Accept what changes nothing.

        Raises:
            UsageError: EINVAL, another size: a LUN is as large as the array made it.
            Refused: EPERM, another owner or mode: the configuration sets them.
        """
        now = self.getattr(inode)
        if changes.size_bytes not in (None, now.size_bytes):
            raise UsageError(f"a LUN of {now.size_bytes} bytes cannot have {changes.size_bytes}")
        is_same_mode = changes.mode is None or changes.mode & 0o7777 == now.mode & 0o7777
        if (
            not is_same_mode
            or changes.uid not in (None, now.uid)
            or changes.gid not in (None, now.gid)
        ):
            raise Refused("owner and mode are set in the configuration", errno.EPERM)
        return now

    def refuse(self, operation: str) -> Refused:
        """The answer to whatever would change the tree: EPERM, as each of these calls' manual pages has it."""
        return Refused(f"{operation}: LUNs cannot be made or removed here", errno.EPERM)

    def _attributes(self, node: Node) -> Attributes:
        return attributes(node, self._ownership, self._time_ns)

    # Opening and closing.

    async def open(self, inode: int, flags: int, caller: Caller) -> Opened:
        """Run the reserve procedure that the flags name.

        Raises:
            OpenRefused: the procedure ended in an error.
            UsageError: EINVAL, flags that contradict each other or make no sense here.
            Refused: EPERM, the caller may not force; ESHUTDOWN, the tree is being unmounted.
        """
        if self._is_draining:
            raise Refused("the tree is being unmounted", errno.ESHUTDOWN)
        node = self.namespace.file(inode)
        request = open_request(flags, self._flag_options)
        options = self._options(node, request, caller)
        handle = await node.device.open(options)
        cached_inode = self._cached_inode(node.device)
        is_cacheable = (
            handle.owns_reservation and not request.uncached and not self._is_haunted(node.device)
        )
        is_direct = not is_cacheable or cached_inode not in (None, inode)
        tenure = self._tenures[node.device]
        fh = next(self._numbers)
        self._open_files[fh] = OpenFile(
            node, handle, options, request.durable, caller, tenure, is_direct
        )
        keep_cache = not is_direct and cached_inode == inode
        return Opened(fh=fh, direct_io=is_direct, keep_cache=keep_cache)

    def _options(self, node: DeviceFile, request: OpenRequest, caller: Caller) -> OpenOption:
        """What an open asks for, seen to be possible and allowed."""
        options = node.options | request.options
        options = options or self._default_options.get(node.device.name, OpenOption.DEFAULT)
        try:
            check_options(options)
        except UsageError as error:
            raise UsageError(f"{error.what} ({_spelt(node, request)})", lun=node.name) from None
        if OpenOption.FORCED_OPEN in options and not may_force(caller, self._force_group):
            what = f"uid {caller.uid} may not force this LUN open"
            hint = "do it as root, or configure forced_open_group"
            raise Refused(what, errno.EPERM, lun=node.name, hint=hint)
        return options

    async def release(self, fh: int) -> None:
        """The last reference to an open file is gone."""
        file = self._file(fh)
        file.is_closing = True
        try:
            await file.handle.aclose()
        finally:
            self._open_files.pop(fh, None)

    async def aclose(self) -> list[Exception]:
        """Give up everything still open, whatever fails; what failed is returned."""
        self.drain()
        failures: list[Exception] = []
        for fh in list(self._open_files):
            for end in (self.flush, self.release):
                try:
                    await end(fh)
                except Exception as failure:  # noqa: BLE001 - the other files must still be closed
                    failures.append(failure)
        return failures

    def drain(self, *, is_draining: bool = True) -> None:
        """Refuse opens from now on, or take that back."""
        self._is_draining = is_draining

    @property
    def open_files(self) -> list[OpenFile]:
        """Every file that is open now, oldest first."""
        return list(self._open_files.values())

    # Data.

    def read(self, fh: int, offset_bytes: int, length_bytes: int) -> Coroutine[Any, Any, Buffer]:
        """To be awaited: a coroutine more takes as long as all else it does."""
        return self._file(fh).handle.read(offset_bytes, length_bytes)

    async def write(self, fh: int, offset_bytes: int, data: Buffer) -> int:
        file = self._file(fh)
        file.is_unflushed = file.is_unflushed or not file.durable
        try:
            return await file.handle.write(offset_bytes, data, durable=file.durable)
        finally:
            if file.is_direct:
                cached_inode = self._cached_inode(file.node.device)
                if cached_inode is not None:
                    await self.drop_cache(cached_inode)

    async def flush(self, fh: int) -> None:
        """close(2): flush what this file wrote, so that the closer learns of an error."""
        if self._file(fh).is_unflushed:
            await self.fsync(fh)

    async def fsync(self, fh: int) -> None:
        file = self._file(fh)
        file.is_unflushed = False  # a write that comes while the flush runs sets it again
        try:
            await file.handle.flush()
        except BaseException:
            file.is_unflushed = True
            raise

    def _file(self, fh: int) -> OpenFile:
        try:
            return self._open_files[fh]
        except KeyError:
            raise Refused(f"there is no open file {fh}", errno.EBADF) from None

    # The page cache.

    def _cached_inode(self, device: ServedDevice) -> int | None:
        """Which of a device's inodes has pages in the kernel that are known to be what the device holds."""
        for file in self._open_files.values():
            is_good = file.tenure == self._tenures[device] and not file.is_closing
            if file.node.device is device and is_good and not file.is_direct:
                return file.node.inode
        return None

    def _is_haunted(self, device: ServedDevice) -> bool:
        """Whether a file from before the last fencing is still open, and its mappings with it."""
        return any(
            file.tenure != self._tenures[device]
            for file in self._open_files.values()
            if file.node.device is device and not file.is_closing
        )

    def _fenced(self, device: ServedDevice) -> None:
        """Nobody can read pages of a file that is not open, and the next open of one drops what it has."""
        self._tenures[device] += 1
        open_nodes = {one.node for one in self._open_files.values() if one.node.device is device}
        for node in open_nodes:
            self._stale.send_nowait(node.inode)

    async def drop_stale_caches(self) -> None:
        """Drop the pages of fenced devices as they are fenced; runs until cancelled."""
        async for inode in self._stale_inodes:
            await self.drop_cache(inode)
