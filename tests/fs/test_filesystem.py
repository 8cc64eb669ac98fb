"""The file system without FUSE."""

import errno
import os
import stat

import pytest
import trio
import trio.testing

from mpio_fuse.errors import MpioError, OpenRefused, UsageError
from mpio_fuse.fs.caller import Caller
from mpio_fuse.fs.filesystem import Changes
from mpio_fuse.fs.refused import Refused
from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.fs.memory_device import Expected, MemoryDevice
from tests.fs.trees import MADE_NS, ROOT, tree

LUN = 2
OTHER_GROUP = 4_000_000


def test_a_file_has_the_size_of_its_device_and_the_configured_owner() -> None:
    found = tree(MemoryDevice(size_bytes=3 << 20)).getattr(LUN)
    assert (found.size_bytes, found.uid, found.gid) == (3 << 20, 11, 22)
    assert (stat.S_ISREG(found.mode), stat.S_IMODE(found.mode)) == (True, 0o640)
    assert found.time_ns == MADE_NS
    assert found.cached_for_s > 0


def test_a_size_that_is_not_known_yet_is_not_cached() -> None:
    assert tree(MemoryDevice(size_bytes=0)).getattr(LUN).cached_for_s == 0


def test_the_root_lists_every_file_and_cannot_be_written() -> None:
    fs = tree(MemoryDevice("b"), MemoryDevice("a"))
    assert [(name, found.inode) for name, found in fs.readdir(1)] == [(b"a", 2), (b"b", 3)]
    assert fs.getattr(1).mode == stat.S_IFDIR | 0o555
    assert fs.lookup(1, b"b").inode == 3


def test_statfs_adds_the_devices_up() -> None:
    totals = tree(MemoryDevice("a", 1 << 20), MemoryDevice("b", 2 << 20)).statfs()
    assert (totals.size_bytes, totals.files) == (3 << 20, 2)


@pytest.mark.parametrize(
    "changes",
    [Changes(), Changes(size_bytes=1 << 20), Changes(mode=0o640), Changes(uid=11, gid=22)],
)
def test_what_changes_nothing_is_accepted(changes: Changes) -> None:
    assert tree(MemoryDevice()).setattr(LUN, changes).size_bytes == 1 << 20


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (Changes(size_bytes=0), errno.EINVAL),
        (Changes(size_bytes=2 << 20), errno.EINVAL),
        (Changes(mode=0o600), errno.EPERM),
        (Changes(uid=0), errno.EPERM),
        (Changes(gid=0), errno.EPERM),
    ],
)
def test_another_size_owner_or_mode_is_refused(changes: Changes, code: int) -> None:
    with pytest.raises(MpioError) as refused:
        tree(MemoryDevice()).setattr(LUN, changes)
    assert refused.value.errno == code


async def test_a_directory_that_contradicts_a_flag_is_named() -> None:
    filesystem = tree(MemoryDevice())
    retain = filesystem.namespace.lookup(filesystem.namespace.options.inode, b"retain").inode
    file = filesystem.namespace.lookup(retain, b"naa.6001405").inode
    with pytest.raises(UsageError, match=r"no other option \(directory retain, O_NONBLOCK\)"):
        await filesystem.open(file, os.O_RDWR | os.O_NONBLOCK, ROOT)


def test_changes_of_the_tree_are_refused_with_eperm() -> None:
    refused = tree(MemoryDevice()).refuse("mkdir")
    assert (refused.errno, "mkdir" in str(refused)) == (errno.EPERM, True)


async def test_flags_choose_the_procedure() -> None:
    device = MemoryDevice()
    await tree(device).open(LUN, os.O_RDWR | os.O_NOFOLLOW, ROOT)
    assert device.asked == [("open", OpenOption.SINGLE)]


@pytest.mark.parametrize("flags", [os.O_APPEND, os.O_NONBLOCK | os.O_ASYNC])
async def test_flags_that_make_no_sense_never_reach_the_device(flags: int) -> None:
    device = MemoryDevice()
    with pytest.raises(UsageError):
        await tree(device).open(LUN, flags, ROOT)
    assert device.asked == []


async def test_a_foreign_reservation_is_the_callers_errno() -> None:
    with pytest.raises(OpenRefused) as refused:
        await tree(MemoryDevice(is_foreign=True)).open(LUN, os.O_RDONLY, ROOT)
    assert refused.value.errno == errno.EIO


async def test_forcing_is_for_root_and_the_configured_group() -> None:
    device = MemoryDevice()
    fs = tree(device, force_group=OTHER_GROUP)
    with pytest.raises(Refused, match="uid 7 may not force") as refused:
        await fs.open(LUN, os.O_ASYNC, Caller(uid=7, gid=7, pid=0))
    assert (refused.value.errno, device.asked) == (errno.EPERM, [])
    await fs.open(LUN, os.O_ASYNC, Caller(uid=7, gid=OTHER_GROUP, pid=0))
    assert device.asked == [("open", OpenOption.FORCED_OPEN)]


async def test_nobody_but_root_forces_without_a_group() -> None:
    with pytest.raises(Refused, match="may not force"):
        await tree(MemoryDevice()).open(LUN, os.O_ASYNC, Caller(uid=7, gid=0, pid=os.getpid()))


async def test_data_goes_to_the_device_and_back() -> None:
    fs = tree(MemoryDevice())
    fh = (await fs.open(LUN, os.O_RDWR, ROOT)).fh
    assert await fs.write(fh, 513, b"shared") == 6
    assert await fs.read(fh, 512, 8) == b"\0shared\0"


@pytest.mark.parametrize(("flag", "durable"), [(0, False), (os.O_SYNC, True), (os.O_DSYNC, True)])
async def test_writes_of_a_sync_open_are_durable(flag: int, *, durable: bool) -> None:
    device = MemoryDevice()
    fs = tree(device)
    fh = (await fs.open(LUN, os.O_WRONLY | flag, ROOT)).fh
    await fs.write(fh, 0, b"x")
    assert device.asked[-1] == ("write", 0, 1, durable)


async def test_close_flushes_what_was_written_and_only_that() -> None:
    device = MemoryDevice()
    fs = tree(device)
    fh = (await fs.open(LUN, os.O_RDWR, ROOT)).fh
    await fs.flush(fh)
    assert ("flush",) not in device.asked
    await fs.write(fh, 0, b"x")
    await fs.flush(fh)
    await fs.flush(fh)
    assert device.asked.count(("flush",)) == 1


async def test_a_failed_flush_is_tried_again_at_the_next_close() -> None:
    device = MemoryDevice()
    fs = tree(device)
    fh = (await fs.open(LUN, os.O_RDWR, ROOT)).fh
    await fs.write(fh, 0, b"x")
    device.failure = Expected("lost")
    with pytest.raises(Expected):
        await fs.fsync(fh)
    await fs.flush(fh)
    assert device.asked.count(("flush",)) == 2


async def test_a_released_file_is_no_file_even_when_the_device_complained() -> None:
    device = MemoryDevice()
    fs = tree(device)
    fh = (await fs.open(LUN, os.O_RDWR, ROOT)).fh
    device.failure = Expected("not released")
    with pytest.raises(Expected):
        await fs.release(fh)
    with pytest.raises(Refused) as refused:
        await fs.read(fh, 0, 1)
    assert (refused.value.errno, fs.open_files) == (errno.EBADF, [])


async def test_a_drained_tree_opens_nothing_until_that_is_taken_back() -> None:
    fs = tree(MemoryDevice())
    fs.drain()
    with pytest.raises(Refused) as refused:
        await fs.open(LUN, os.O_RDONLY, ROOT)
    assert refused.value.errno == errno.ESHUTDOWN
    fs.drain(is_draining=False)
    await fs.open(LUN, os.O_RDONLY, ROOT)


async def test_aclose_flushes_and_closes_all_whatever_fails() -> None:
    first, second = MemoryDevice("a"), MemoryDevice("b")
    fs = tree(first, second)
    for inode in (2, 3):
        fh = (await fs.open(inode, os.O_RDWR, ROOT)).fh
        await fs.write(fh, 0, b"x")
    first.failure = Expected("lost")
    failures = await fs.aclose()
    assert [str(failure) for failure in failures] == ["lost"]
    assert first.asked[-2:] == second.asked[-2:] == [("flush",), ("close",)]
    assert fs.open_files == []


class Caches:
    """A kernel's page cache, as far as anybody can tell."""

    def __init__(self) -> None:
        self.dropped: list[int] = []

    async def drop(self, inode: int) -> None:
        await trio.lowlevel.checkpoint()
        self.dropped.append(inode)


async def test_only_a_handle_that_owns_the_reservation_is_cached() -> None:
    fs = tree(MemoryDevice())
    owning = await fs.open(LUN, os.O_RDWR, ROOT)
    other = await fs.open(LUN, os.O_RDWR | os.O_NONBLOCK, ROOT)
    assert (owning.direct_io, other.direct_io) == (False, True)


async def test_an_open_keeps_the_cache_only_beside_another_owner() -> None:
    fs = tree(MemoryDevice("a"), MemoryDevice("b"))
    first = await fs.open(LUN, os.O_RDWR, ROOT)
    second = await fs.open(LUN, os.O_RDWR, ROOT)
    elsewhere = await fs.open(3, os.O_RDWR, ROOT)
    keeps = [first.keep_cache, second.keep_cache, elsewhere.keep_cache]
    assert keeps == [False, True, False]
    await fs.release(first.fh)
    await fs.release(second.fh)
    assert (await fs.open(LUN, os.O_RDWR, ROOT)).keep_cache is False


async def test_an_open_beside_one_that_is_just_closing_keeps_nothing() -> None:
    """The reservation may have been away for a moment between the two."""
    device = MemoryDevice()
    fs = tree(device)
    first = await fs.open(LUN, os.O_RDWR, ROOT)
    async with trio.open_nursery() as nursery:
        device.closing = trio.Event()
        nursery.start_soon(fs.release, first.fh)
        await trio.testing.wait_all_tasks_blocked()
        assert (await fs.open(LUN, os.O_RDWR, ROOT)).keep_cache is False
        device.closing.set()


async def test_fencing_drops_the_cache_and_what_was_open_keeps_none() -> None:
    device, caches = MemoryDevice(), Caches()
    fs = tree(device)
    fs.drop_cache = caches.drop
    before = await fs.open(LUN, os.O_RDWR, ROOT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fs.drop_stale_caches)
        device.fence()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert caches.dropped == [LUN]
    await fs.release(before.fh)
    afresh = await fs.open(LUN, os.O_RDWR, ROOT)
    beside = await fs.open(LUN, os.O_RDWR, ROOT)
    assert (afresh.keep_cache, beside.keep_cache) == (False, True)


async def test_beside_a_fenced_file_every_open_of_its_lun_is_direct_until_it_is_closed() -> None:
    taken, other = MemoryDevice("a"), MemoryDevice("b")
    fs = tree(taken, other)
    before = await fs.open(LUN, os.O_RDWR, ROOT)
    taken.fence()
    afresh = await fs.open(LUN, os.O_RDWR, ROOT)
    beside = await fs.open(LUN, os.O_RDWR, ROOT)
    elsewhere = await fs.open(3, os.O_RDWR, ROOT)
    assert [one.direct_io for one in (afresh, beside, elsewhere)] == [True, True, False]
    assert not beside.keep_cache
    taken.closing = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fs.release, before.fh)
        await trio.testing.wait_all_tasks_blocked()
        cached = await fs.open(LUN, os.O_RDWR, ROOT)
        assert (cached.direct_io, cached.keep_cache) == (False, False)
        taken.closing.set()


async def test_a_direct_file_beside_a_fenced_one_has_no_pages_to_drop() -> None:
    device, caches = MemoryDevice(), Caches()
    fs = tree(device)
    fs.drop_cache = caches.drop
    await fs.open(LUN, os.O_RDWR, ROOT)
    device.fence()
    afresh = await fs.open(LUN, os.O_RDWR, ROOT)
    await fs.write(afresh.fh, 0, b"x")
    assert caches.dropped == []


async def test_a_direct_write_drops_what_cached_files_have() -> None:
    caches = Caches()
    fs = tree(MemoryDevice())
    fs.drop_cache = caches.drop
    direct = (await fs.open(LUN, os.O_RDWR | os.O_NONBLOCK, ROOT)).fh
    await fs.write(direct, 0, b"x")
    assert caches.dropped == []
    owning = (await fs.open(LUN, os.O_RDWR, ROOT)).fh
    await fs.write(owning, 0, b"x")
    assert caches.dropped == []
    await fs.write(direct, 0, b"x")
    assert caches.dropped == [LUN]
