"""Directories that stand for open options: what is there, what is listed, what an open through them asks for."""

import errno
import os
import stat
from itertools import permutations

import pytest
import trio
import trio.testing

from mpio_fuse.errors import UsageError
from mpio_fuse.fs.caller import Caller
from mpio_fuse.fs.filesystem import FileSystem
from mpio_fuse.fs.namespace import ROOT_INODE, DeviceFile, Directory, Namespace
from mpio_fuse.fs.refused import Refused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.option_words import WORDS, parse_options
from tests.fs.memory_device import Expected, MemoryDevice
from tests.fs.trees import ROOT, tree

A, B = MemoryDevice("a"), MemoryDevice("b")
VALID = [
    "no-reserve",
    *(
        "+".join(words)
        for n in (1, 2, 3)
        for words in permutations(["retain", "single", "forced"], n)
    ),
]


def find(namespace: Namespace, path: str) -> DeviceFile | Directory:
    inode = ROOT_INODE
    for name in path.split("/"):
        inode = namespace.lookup(inode, name.encode()).inode
    return namespace.node(inode)


def inode_of(fs: FileSystem, path: str) -> int:
    return find(fs.namespace, path).inode


def test_the_directory_of_options_is_found_but_not_listed_in_the_root() -> None:
    """So that ``grep -r`` over the tree forces no LUN open."""
    namespace = Namespace([A, B])
    assert list(namespace.root.entries) == [b"a", b"b"]
    assert find(namespace, ".ext") is namespace.options


def test_it_lists_each_option_and_each_option_every_lun() -> None:
    fs = tree(A, B)
    options = inode_of(fs, ".ext")
    assert [name.decode() for name, _ in fs.readdir(options)] == list(WORDS)
    for name, found in fs.readdir(options):
        assert [lun for lun, _ in fs.readdir(found.inode)] == [b"a", b"b"]
        assert stat.S_IMODE(found.mode) == 0o555
        assert fs.lookup(options, name) == found


@pytest.mark.parametrize("name", VALID)
def test_a_file_there_is_the_lun_with_these_options(name: str) -> None:
    namespace = Namespace([A, B])
    file = find(namespace, f".ext/{name}/b")
    assert isinstance(file, DeviceFile)
    assert (file.device, file.name, file.options) == (B, "b", parse_options(name))


def test_combinations_are_not_listed_even_once_used() -> None:
    namespace = Namespace([A])
    find(namespace, ".ext/forced+retain")
    assert list(namespace.options.entries) == [word.encode() for word in WORDS]


def test_each_inode_is_one_node_and_stays_it() -> None:
    namespace = Namespace([A, B])
    paths = ["a", "b", ".ext", *(f".ext/{name}" for name in VALID)]
    paths += [f".ext/{name}/{lun}" for name in VALID for lun in "ab"]
    first = {path: find(namespace, path) for path in paths}
    assert {path: find(namespace, path) for path in paths} == first
    directories = [one for one in first.values() if isinstance(one, Directory)]
    assert len({one.inode for one in directories}) == len(VALID) + 1
    files = {one.inode: one for one in first.values() if isinstance(one, DeviceFile)}
    assert len(files) == 2 * len({one.options for one in files.values()})


def test_the_order_of_the_words_makes_no_other_file() -> None:
    namespace = Namespace([A])
    one, other = (find(namespace, f".ext/{name}/a") for name in ("retain+forced", "forced+retain"))
    assert one is other


def test_dot_dot_leads_back() -> None:
    namespace = Namespace([A])
    assert find(namespace, ".ext/forced+retain/..") is namespace.options
    assert find(namespace, ".ext/..") is namespace.root


@pytest.mark.parametrize(
    "name", ["force", "", "forced+", "forced+forced", "default", "FORCED", "\udcff", "a"]
)
def test_what_is_no_option_does_not_exist(name: str) -> None:
    namespace = Namespace([A])
    with pytest.raises(Refused) as refused:
        namespace.lookup(namespace.options.inode, os.fsencode(name))
    assert refused.value.errno == errno.ENOENT


@pytest.mark.parametrize("name", ["no-reserve+forced", "retain+no-reserve", "single+no-reserve"])
def test_a_contradiction_is_einval_as_it_is_by_flags(name: str) -> None:
    namespace = Namespace([A])
    with pytest.raises(UsageError) as refused:
        namespace.lookup(namespace.options.inode, name.encode())
    assert refused.value.errno == errno.EINVAL


def test_links_count_the_listed_directories() -> None:
    fs = tree(A)
    paths = (".ext", ".ext/forced")
    links = [
        fs.getattr(ROOT_INODE).links,
        *(fs.getattr(inode_of(fs, path)).links for path in paths),
    ]
    assert links == [2, 6, 2]


def test_statfs_counts_each_lun_once() -> None:
    fs = tree(MemoryDevice("a", 1 << 20))
    totals = fs.statfs()
    assert (totals.size_bytes, totals.files) == (1 << 20, 1)


# What an open asks for.


async def test_flags_and_directory_add_up() -> None:
    device = MemoryDevice("a")
    fs = tree(device)
    await fs.open(inode_of(fs, ".ext/forced/a"), os.O_NOATIME, ROOT)
    assert device.asked == [("open", OpenOption.FORCED_OPEN | OpenOption.RETAIN_RESERVATION)]


async def test_a_directory_and_a_flag_that_contradict_each_other_are_einval() -> None:
    device = MemoryDevice("a")
    fs = tree(device)
    with pytest.raises(UsageError):
        await fs.open(inode_of(fs, ".ext/retain/a"), os.O_NONBLOCK, ROOT)
    assert device.asked == []


async def test_forcing_through_a_directory_is_for_root_and_the_configured_group_too() -> None:
    device = MemoryDevice("a")
    fs = tree(device, force_group=4_000_000)
    inode = inode_of(fs, ".ext/retain+forced/a")
    with pytest.raises(Refused, match="uid 7 may not force this LUN open") as refused:
        await fs.open(inode, os.O_RDONLY, Caller(uid=7, gid=7, pid=0))
    assert (refused.value.errno, device.asked) == (errno.EPERM, [])
    await fs.open(inode, os.O_RDONLY, Caller(uid=7, gid=4_000_000, pid=0))
    assert len(device.asked) == 1


RETAIN = OpenOption.RETAIN_RESERVATION


@pytest.mark.parametrize(
    ("path", "flags", "asked"),
    [
        ("a", 0, RETAIN),
        ("a", os.O_NONBLOCK, OpenOption.NO_RESERVE),
        ("a", os.O_NOFOLLOW, OpenOption.SINGLE),
        (".ext/single/a", 0, OpenOption.SINGLE),
        ("b", 0, OpenOption.DEFAULT),
    ],
)
async def test_the_configured_default_counts_when_an_open_names_no_option(
    path: str, flags: int, asked: OpenOption
) -> None:
    devices = [MemoryDevice("a"), MemoryDevice("b")]
    fs = tree(*devices, default_options={"a": RETAIN})
    await fs.open(inode_of(fs, path), flags, ROOT)
    assert [one for device in devices for one in device.asked] == [("open", asked)]


async def test_a_configured_forced_open_is_not_for_everybody() -> None:
    fs = tree(MemoryDevice("a"), default_options={"a": OpenOption.FORCED_OPEN})
    with pytest.raises(Refused, match="may not force"):
        await fs.open(inode_of(fs, "a"), 0, Caller(uid=7, gid=7, pid=0))


async def test_flags_can_stand_for_other_options() -> None:
    device = MemoryDevice("a")
    table = {os.O_SYNC: OpenOption.SINGLE, os.O_DIRECT: RETAIN}
    fs = tree(device, flag_options=table)
    for flags in (os.O_DIRECT, os.O_SYNC, os.O_DSYNC, os.O_NONBLOCK):
        await fs.open(inode_of(fs, "a"), flags, ROOT)
    asked = [RETAIN, OpenOption.SINGLE, OpenOption.DEFAULT, OpenOption.DEFAULT]
    assert device.asked == [("open", options) for options in asked]


# The page cache is per inode, and one LUN has several.


class Kernel:
    """Which inodes' pages were dropped."""

    def __init__(self, fs: FileSystem) -> None:
        self.dropped: list[int] = []
        fs.drop_cache = self.drop

    async def drop(self, inode: int) -> None:
        await trio.lowlevel.checkpoint()
        self.dropped.append(inode)


async def test_a_file_is_cached_through_one_inode_at_a_time() -> None:
    fs = tree(MemoryDevice("a"), MemoryDevice("b"))
    plain, retain, other = (inode_of(fs, path) for path in ("a", ".ext/retain/a", ".ext/retain/b"))
    first = await fs.open(retain, os.O_RDWR, ROOT)
    second = await fs.open(plain, os.O_RDWR, ROOT)
    again = await fs.open(retain, os.O_RDWR, ROOT)
    elsewhere = await fs.open(other, os.O_RDWR, ROOT)
    assert [one.direct_io for one in (first, second, again, elsewhere)] == [
        False,
        True,
        False,
        False,
    ]
    assert [one.keep_cache for one in (first, second, again, elsewhere)] == [
        False,
        False,
        True,
        False,
    ]


async def test_the_next_inode_is_cached_once_the_others_files_are_closed() -> None:
    fs = tree(MemoryDevice("a"))
    plain, retain = inode_of(fs, "a"), inode_of(fs, ".ext/retain/a")
    first = await fs.open(plain, os.O_RDWR, ROOT)
    await fs.open(retain, os.O_RDWR, ROOT)
    await fs.release(first.fh)
    now = await fs.open(retain, os.O_RDWR, ROOT)
    assert (now.direct_io, now.keep_cache) == (False, False)
    assert (await fs.open(plain, os.O_RDWR, ROOT)).direct_io


async def test_a_write_through_another_inode_drops_the_cached_ones_pages() -> None:
    fs = tree(MemoryDevice("a"))
    kernel = Kernel(fs)
    plain, retain = inode_of(fs, "a"), inode_of(fs, ".ext/retain/a")
    cached = await fs.open(plain, os.O_RDWR, ROOT)
    direct = await fs.open(retain, os.O_RDWR, ROOT)
    await fs.write(cached.fh, 0, b"x")
    assert kernel.dropped == []
    await fs.write(direct.fh, 0, b"x")
    assert kernel.dropped == [plain]


async def test_a_write_that_fails_drops_them_too() -> None:
    """Part of it may be on the disk."""
    device = MemoryDevice("a")
    fs = tree(device)
    kernel = Kernel(fs)
    plain = inode_of(fs, "a")
    await fs.open(plain, os.O_RDWR, ROOT)
    direct = await fs.open(inode_of(fs, ".ext/retain/a"), os.O_RDWR, ROOT)
    device.failure = Expected("half of it failed")
    with pytest.raises(Expected):
        await fs.write(direct.fh, 0, b"x")
    assert kernel.dropped == [plain]


async def test_fencing_drops_the_pages_of_every_open_inode() -> None:
    device = MemoryDevice("a")
    fs = tree(device, MemoryDevice("b"))
    kernel = Kernel(fs)
    inodes = {inode_of(fs, path) for path in ("a", ".ext/retain/a")}
    for inode in (*inodes, inode_of(fs, "b")):
        await fs.open(inode, os.O_RDWR, ROOT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fs.drop_stale_caches)
        device.fence()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert set(kernel.dropped) == inodes


async def test_what_was_fenced_keeps_every_inode_from_being_cached_until_it_is_closed() -> None:
    device = MemoryDevice("a")
    fs = tree(device)
    before = await fs.open(inode_of(fs, "a"), os.O_RDWR, ROOT)
    device.fence()
    beside = await fs.open(inode_of(fs, ".ext/forced/a"), os.O_RDWR, ROOT)
    assert beside.direct_io
    await fs.release(before.fh)
    afresh = await fs.open(inode_of(fs, ".ext/forced/a"), os.O_RDWR, ROOT)
    assert (afresh.direct_io, afresh.keep_cache) == (False, False)
