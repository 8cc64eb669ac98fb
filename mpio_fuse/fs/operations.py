"""The pyfuse3 adapter: each operation is a call of `FileSystem` and an errno line.

Nothing is decided here but two things FUSE asks of an adapter: errors become `pyfuse3.FUSEError`, and no
exception, however unexpected, gets past a request (pyfuse3 would end the daemon, and with it every open LUN).

Extended attributes, poll and the rest are left to pyfuse3's ENOSYS, which the kernel remembers: it then
answers EOPNOTSUPP itself, and does not ask for security.capability before every write.
"""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pyfuse3
import structlog
import trio

from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.fs.attributes import PREFERRED_IO_BYTES, STAT_BLOCK_BYTES, Attributes
from mpio_fuse.fs.caller import Caller
from mpio_fuse.fs.filesystem import Changes, FileSystem
from mpio_fuse.fs.namespace import MAXIMUM_NAME_BYTES
from mpio_fuse.fs.refused import Refused

_log = structlog.get_logger(__name__)

FSTYPE = "mpio-fuse"
MINIMUM_IDLE_TASKS = 64
"""To start one takes longer than a request does, so those of an ordinary queue stay."""

MAXIMUM_TASKS = 512
"""Requests in flight at once: what 32 underpaths of 16 commands each can carry."""


def mount_options(*, allow_other: bool) -> set[str]:
    """Options of `pyfuse3.init`: the kernel checks permissions; the type shows as ``fuse.mpio-fuse``."""
    options = {"default_permissions", f"fsname={FSTYPE}", f"subtype={FSTYPE}"}
    return options | {"allow_other"} if allow_other else options


def request_errno(failure: Exception) -> int | None:
    """The errno an exception stands for; None when nobody raised it on purpose.

    A group stands for its first member, when all of them are on purpose: tasks that failed together.
    """
    if isinstance(failure, MpioError):
        return failure.errno
    if isinstance(failure, ExceptionGroup):
        codes = [request_errno(member) for member in failure.exceptions]
        return None if None in codes else codes[0]
    return None


async def drop_page_cache(inode: int) -> None:
    """Drop what the kernel has of a file; in a thread, because dirty mapped pages are written first."""
    try:
        await trio.to_thread.run_sync(pyfuse3.invalidate_inode, inode)
    except OSError as failure:
        if failure.errno != errno.ENOENT:  # the kernel knows no such inode: nothing is cached
            _log.warning("page cache not dropped", inode=inode, error=str(failure))


class Operations(pyfuse3.Operations):
    """See the module's docstring.  Signatures and units are pyfuse3's."""

    def __init__(
        self,
        filesystem: FileSystem,
        drop_cache: Callable[[int], Awaitable[None]] = drop_page_cache,
    ) -> None:
        super().__init__()
        self._fs = filesystem
        self._fs.drop_cache = drop_cache
        self._reported: dict[int, str] = {}

    @asynccontextmanager
    async def _answering(self, operation: str, **about: object) -> AsyncIterator[None]:
        """Turn what a request raises into what FUSE may be told."""
        try:
            yield
        except Exception as failure:
            raise self._answer(operation, failure, **about) from failure

    def _answer(self, operation: str, failure: Exception, **about: object) -> pyfuse3.FUSEError:
        """What FUSE is told of a failure that is being handled."""
        code = request_errno(failure)
        if code is None:
            _log.exception("request failed unexpectedly", operation=operation, **about)
            return pyfuse3.FUSEError(errno.EIO)
        self._report(operation, failure, code, **about)
        return pyfuse3.FUSEError(code)

    def _report(self, operation: str, failure: Exception, code: int, **about: object) -> None:
        """Say why, where the caller sees only a number; a file's failing reads and writes only once."""
        text = str(failure)
        name = errno.errorcode.get(code, str(code))
        if isinstance(
            failure, UsageError
        ):  # a program's mistake, which sees EINVAL and nothing else
            _log.info("request refused", operation=operation, errno=name, reason=text, **about)
            return
        if isinstance(failure, Refused) and code != errno.EPERM:
            _log.debug("request refused", operation=operation, errno=name, reason=text, **about)
            return
        fh = about.get("fh")
        if isinstance(fh, int):
            if self._reported.get(fh) == text:
                return
            self._reported[fh] = text
        _log.warning("request failed", operation=operation, errno=name, reason=text, **about)

    # Names and attributes.

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,  # noqa: ARG002 - pyfuse3's signature
    ) -> pyfuse3.EntryAttributes:
        async with self._answering("lookup"):
            return _entry(self._fs.lookup(parent_inode, name))

    async def getattr(
        self,
        inode: pyfuse3.InodeT,
        ctx: pyfuse3.RequestContext,  # noqa: ARG002 - pyfuse3's signature
    ) -> pyfuse3.EntryAttributes:
        async with self._answering("getattr", inode=inode):
            return _entry(self._fs.getattr(inode))

    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,  # noqa: ARG002 - pyfuse3's signature
        ctx: pyfuse3.RequestContext,  # noqa: ARG002 - pyfuse3's signature
    ) -> pyfuse3.EntryAttributes:
        changes = Changes(
            size_bytes=attr.st_size if fields.update_size else None,
            mode=attr.st_mode if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
        )
        async with self._answering("setattr", inode=inode):
            return _entry(self._fs.setattr(inode, changes))

    async def opendir(
        self,
        inode: pyfuse3.InodeT,
        ctx: pyfuse3.RequestContext,  # noqa: ARG002 - pyfuse3's signature
    ) -> pyfuse3.FileHandleT:
        async with self._answering("opendir", inode=inode):
            self._fs.readdir(inode)
            return inode

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        async with self._answering("readdir", inode=fh):
            entries = self._fs.readdir(fh)
            for next_id, (name, found) in enumerate(entries[start_id:], start_id + 1):
                if not pyfuse3.readdir_reply(token, name, _entry(found), next_id):
                    break

    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Nothing was kept for an open directory."""

    async def statfs(
        self,
        ctx: pyfuse3.RequestContext,  # noqa: ARG002 - pyfuse3's signature
    ) -> pyfuse3.StatvfsData:
        async with self._answering("statfs"):
            totals = self._fs.statfs()
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = PREFERRED_IO_BYTES
        answer.f_blocks = totals.size_bytes // PREFERRED_IO_BYTES
        answer.f_files = totals.files
        answer.f_namemax = MAXIMUM_NAME_BYTES
        return answer

    # Files.

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        caller = Caller(uid=ctx.uid, gid=ctx.gid, pid=ctx.pid)
        async with self._answering("open", inode=inode, uid=ctx.uid, pid=ctx.pid):
            opened = await self._fs.open(inode, flags, caller)
        return pyfuse3.FileInfo(
            fh=opened.fh, direct_io=opened.direct_io, keep_cache=opened.keep_cache
        )

    # These two without a context manager: to enter and leave one takes as long as the rest of this layer.

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        try:
            data = await self._fs.read(fh, off, size)
        except Exception as failure:
            raise self._answer("read", failure, fh=fh) from failure
        return cast("bytes", data)  # pyfuse3 takes any buffer, whatever its types say

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        try:
            return await self._fs.write(fh, off, buf)
        except Exception as failure:
            raise self._answer("write", failure, fh=fh) from failure

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        async with self._answering("flush", fh=fh):
            await self._fs.flush(fh)

    async def fsync(
        self,
        fh: pyfuse3.FileHandleT,
        datasync: bool,  # noqa: ARG002, FBT001 - pyfuse3's signature
    ) -> None:
        async with self._answering("fsync", fh=fh):
            await self._fs.fsync(fh)

    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:  # noqa: FBT001 - pyfuse3's signature
        """A directory here has nothing to write."""

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        try:
            async with self._answering("release", fh=fh):
                await self._fs.release(fh)
        finally:
            self._reported.pop(fh, None)

    # Whatever would change the tree.

    async def create(self, *_request: object) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        raise self._refusal("create")

    async def mknod(self, *_request: object) -> pyfuse3.EntryAttributes:
        raise self._refusal("mknod")

    async def mkdir(self, *_request: object) -> pyfuse3.EntryAttributes:
        raise self._refusal("mkdir")

    async def symlink(self, *_request: object) -> pyfuse3.EntryAttributes:
        raise self._refusal("symlink")

    async def link(self, *_request: object) -> pyfuse3.EntryAttributes:
        raise self._refusal("link")

    async def unlink(self, *_request: object) -> None:
        raise self._refusal("unlink")

    async def rmdir(self, *_request: object) -> None:
        raise self._refusal("rmdir")

    async def rename(self, *_request: object) -> None:
        raise self._refusal("rename")

    def _refusal(self, operation: str) -> pyfuse3.FUSEError:
        refused = self._fs.refuse(operation)
        _log.debug("request refused", operation=operation, reason=str(refused))
        return pyfuse3.FUSEError(refused.errno)


def _entry(found: Attributes) -> pyfuse3.EntryAttributes:
    """A node's attributes as FUSE wants them."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = found.inode
    entry.st_mode = found.mode
    entry.st_nlink = found.links
    entry.st_uid = found.uid
    entry.st_gid = found.gid
    entry.st_size = found.size_bytes
    entry.st_blocks = found.size_bytes // STAT_BLOCK_BYTES
    entry.st_blksize = PREFERRED_IO_BYTES
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = found.time_ns
    entry.entry_timeout = entry.attr_timeout = found.cached_for_s
    return entry
