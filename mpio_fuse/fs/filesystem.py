"""The file system as an object that knows no FUSE: requests in, answers or `MpioError` out.

Theory of operation
-------------------
A `FileSystem` holds the namespace and the table of open files.  It takes plain numbers and bytes and every
error it raises carries the errno the caller is to see; turning the two into FUSE's own types is the adapter's work
(`mpio_fuse.fs.operations`).

*The page cache.*  While this host holds a LUN's reservation nobody else can write, so the kernel may cache the
file's pages.  Three rules keep that honest:

1. Only a handle that owns the reservation is cached; any other is direct.  An open keeps what is cached only when
   another such file is open right now: the reservation was then held without a break since those pages were read.
2. When the device is fenced all pages are dropped, and no open file from before counts for rule 1 any more
   (``tenure`` rises).
3. A write through a direct file drops the pages that cached files of the same LUN have of it, before it returns.

*Flushing.*  close(2) reports what release cannot: a file that has written since its last flush is flushed then,
so the closer sees the error.  Writes of a durable file are on the medium already.

*Invariant.*  Between a device's granting an open and its entry in the table there is no await: `aclose` finds every
handle there ever was.
"""

import errno
import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import attrs
import trio

from mpio_fuse.errors import UsageError
from mpio_fuse.fs.attributes import Attributes, Ownership, attributes
from mpio_fuse.fs.caller import Caller, may_force
from mpio_fuse.fs.flags import FLAG_OPTIONS, open_request
from mpio_fuse.fs.namespace import DeviceFile, Namespace, Node
from mpio_fuse.fs.refused import Refused
from mpio_fuse.fs.served import Buffer, OpenHandle
from mpio_fuse.reserve.fig07_decision import OpenOption, check_options


@attrs.define(eq=False)
class OpenFile:
    """One open file description.  ``tenure`` is the device's at the time it was opened."""

    node: DeviceFile
    handle: OpenHandle
    options: OpenOption
    durable: bool
    caller: Caller
    tenure: int
    is_unflushed: bool = False
    is_closing: bool = False

    @property
    def is_direct(self) -> bool:
        """Whether the kernel must keep no pages of what this file reads and writes."""
        return not self.handle.owns_reservation


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
    ) -> None:
        self.namespace = namespace
        self.drop_cache: Callable[[int], Awaitable[None]] = _nothing_cached
        self._ownership = ownership
        self._time_ns = time_ns
        self._force_group = force_group
        self._flag_options = flag_options
        self._open_files: dict[int, OpenFile] = {}
        self._numbers = itertools.count(1)
        self._tenures: Counter[int] = Counter()
        self._is_draining = False
        self._stale, self._stale_inodes = trio.open_memory_channel[int](math.inf)
        for file in namespace.files:
            file.device.on_fenced = partial(self._fenced, file.inode)

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
        options = node.options | request.options
        check_options(options)
        if OpenOption.FORCED_OPEN in options and not may_force(caller, self._force_group):
            what = f"uid {caller.uid} may not force this LUN open"
            hint = "do it as root, or configure forced_open_group"
            raise Refused(what, errno.EPERM, lun=node.name, hint=hint)
        handle = await node.device.open(options)
        tenure = self._tenures[inode]
        file = OpenFile(node, handle, options, request.durable, caller, tenure)
        keep_cache = not file.is_direct and self._is_cached(inode)
        fh = next(self._numbers)
        self._open_files[fh] = file
        return Opened(fh=fh, direct_io=file.is_direct, keep_cache=keep_cache)

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

    async def read(self, fh: int, offset_bytes: int, length_bytes: int) -> Buffer:
        return await self._file(fh).handle.read(offset_bytes, length_bytes)

    async def write(self, fh: int, offset_bytes: int, data: Buffer) -> int:
        file = self._file(fh)
        file.is_unflushed = file.is_unflushed or not file.durable
        written = await file.handle.write(offset_bytes, data, durable=file.durable)
        if file.is_direct and self._is_cached(file.node.inode):
            await self.drop_cache(file.node.inode)
        return written

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

    def _is_cached(self, inode: int) -> bool:
        """Whether pages the kernel has of a file are known to be what the device holds."""
        return any(
            file.tenure == self._tenures[inode] and not file.is_direct and not file.is_closing
            for file in self._open_files.values()
            if file.node.inode == inode
        )

    def _fenced(self, inode: int) -> None:
        self._tenures[inode] += 1
        self._stale.send_nowait(inode)

    async def drop_stale_caches(self) -> None:
        """Drop the pages of fenced devices as they are fenced; runs until cancelled."""
        async for inode in self._stale_inodes:
            await self.drop_cache(inode)
