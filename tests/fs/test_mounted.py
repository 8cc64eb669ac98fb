"""A real FUSE mount of memory devices, used by the programs and system calls people use."""

import errno
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

SIZE_BYTES = 8 << 20
PATTERN = bytes(range(256)) * 16


@attrs.frozen
class Mounted:
    """A tree with one LUN, in a process of its own."""

    root: Path
    process: "subprocess.Popen[str]"

    @property
    def lun(self) -> Path:
        return self.root / "lun"

    def tell(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def asked(self, operation: str) -> list[list[str]]:
        """What was asked of the device since the last look, of one kind."""
        return [one for one in json.loads(self.tell("asked lun")) if one[0] == operation]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    root = tmp_path / "mnt"
    root.mkdir()
    command = [sys.executable, "-m", "tests.fs.serve_memory", str(root), f"lun={SIZE_BYTES}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Mounted(root, process)
    assert process.returncode == 0
    assert not os.path.ismount(root)


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return done.stdout.decode()


def test_ls_shows_the_lun_and_its_size(mounted: Mounted) -> None:
    assert [entry.name for entry in mounted.root.iterdir()] == ["lun"]
    found = mounted.lun.stat()
    assert (found.st_size, found.st_blocks, found.st_blksize) == (
        SIZE_BYTES,
        SIZE_BYTES // 512,
        4096,
    )


def test_dd_writes_and_cmp_finds_it_again(mounted: Mounted, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(SIZE_BYTES))
    _run("dd", f"if={image}", f"of={mounted.lun}", "bs=1M", "status=none")
    assert mounted.lun.stat().st_size == SIZE_BYTES
    _run("cmp", image, mounted.lun)
    copy = tmp_path / "copy"
    _run("cp", mounted.lun, copy)
    _run("cmp", image, copy)


def test_truncating_opens_keep_size_and_data(mounted: Mounted) -> None:
    mounted.lun.write_bytes(PATTERN)
    with mounted.lun.open("wb") as opened:
        assert os.fstat(opened.fileno()).st_size == SIZE_BYTES
        assert os.lseek(opened.fileno(), 0, os.SEEK_END) == SIZE_BYTES
    assert mounted.lun.stat().st_size == SIZE_BYTES
    with mounted.lun.open("rb") as opened:
        assert opened.read(len(PATTERN)) == PATTERN


def test_direct_requests_of_1_mib_arrive_whole(mounted: Mounted) -> None:
    _run("dd", "if=/dev/zero", f"of={mounted.lun}", "bs=1M", "count=2", "oflag=direct")
    assert mounted.asked("write") == [
        ["write", str(mib << 20), str(1 << 20), "False"] for mib in (0, 1)
    ]


def test_cached_writes_are_gathered_too(mounted: Mounted) -> None:
    _run("dd", "if=/dev/zero", f"of={mounted.lun}", "bs=1M", "count=2")
    assert {int(one[2]) for one in mounted.asked("write")} == {1 << 20}


def test_writing_past_the_end_is_no_space_left(mounted: Mounted) -> None:
    with mounted.lun.open("r+b", buffering=0) as opened:
        opened.seek(SIZE_BYTES - 4)
        assert opened.write(b"12345678") == 4
        with pytest.raises(OSError, match="No space left"):
            opened.write(b"5678")
    assert mounted.lun.stat().st_size == SIZE_BYTES
    assert mounted.lun.read_bytes()[-4:] == b"1234"


def test_reading_past_the_end_is_the_end(mounted: Mounted) -> None:
    with mounted.lun.open("rb", buffering=0) as opened:
        opened.seek(SIZE_BYTES - 1)
        assert opened.read(4096) == b"\0"
        assert opened.read(4096) == b""


def test_mmap_reads_and_writes(mounted: Mounted) -> None:
    with mounted.lun.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        assert len(mapped) == SIZE_BYTES
        mapped[4096 : 4096 + len(PATTERN)] = PATTERN
        mapped.flush()
        assert mapped[4096 : 4096 + len(PATTERN)] == PATTERN
    assert ["write", "4096", "4096", "False"] in mounted.asked("write")


def test_a_second_read_comes_from_the_page_cache(mounted: Mounted) -> None:
    with mounted.lun.open("rb", buffering=0) as opened:
        opened.read(4096)
        assert mounted.asked("read")
        with mounted.lun.open("rb", buffering=0) as beside:
            beside.read(4096)
        opened.seek(0)
        opened.read(4096)
        assert mounted.asked("read") == []


def test_an_open_after_the_last_close_reads_the_device_again(mounted: Mounted) -> None:
    for _ in range(2):
        mounted.lun.read_bytes()
        assert mounted.asked("read")


def test_no_reserve_opens_are_never_cached(mounted: Mounted) -> None:
    fd = os.open(mounted.lun, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(2):
            os.pread(fd, 4096, 0)
            assert mounted.asked("read") == [["read", "0", "4096"]]
    finally:
        os.close(fd)


@pytest.mark.parametrize("flag", [os.O_NONBLOCK, os.O_DIRECT])
def test_a_direct_write_is_seen_by_a_cached_reader(mounted: Mounted, flag: int) -> None:
    reader = os.open(mounted.lun, os.O_RDONLY)
    writer = os.open(mounted.lun, os.O_WRONLY | flag)
    page = mmap.mmap(-1, 4096)  # O_DIRECT wants it aligned
    try:
        for news in (b"news", b"more"):
            os.pread(reader, 4, 0)
            page[:4] = news
            os.pwritev(writer, [page], 0)
            assert os.pread(reader, 4, 0) == news
    finally:
        page.close()
        os.close(reader)
        os.close(writer)


def test_o_direct_sees_what_a_cached_file_wrote(mounted: Mounted) -> None:
    writer = os.open(mounted.lun, os.O_RDWR)
    reader = os.open(mounted.lun, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    try:
        for news in (b"news", b"more"):
            os.pwrite(writer, news, 0)
            os.preadv(reader, [page], 0)
            assert page[:4] == news
    finally:
        page.close()
        os.close(reader)
        os.close(writer)


def test_with_o_direct_nobody_asks_for_the_size_between_a_write_and_a_read(
    mounted: Mounted,
) -> None:
    """The kernel would before each read of a file that it caches, and have the reader wait."""
    fd = os.open(mounted.lun, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    try:
        mounted.tell("asked lun")
        for _ in range(3):
            os.pwritev(fd, [page], 0)
            os.preadv(fd, [page], 0)
        questions = mounted.asked("getattr")
    finally:
        page.close()
        os.close(fd)
    assert not questions


def test_being_fenced_drops_the_page_cache(mounted: Mounted) -> None:
    with mounted.lun.open("rb", buffering=0) as opened:
        opened.read(4096)
        assert mounted.asked("read")
        assert mounted.tell("fence lun") == "fenced"
        assert any(_is_read_again(mounted, opened.fileno()) for _ in _for_a_while())


def test_beside_a_new_file_the_fenced_one_reads_no_pages(mounted: Mounted) -> None:
    mounted.lun.write_bytes(PATTERN)
    fenced = os.open(mounted.lun, os.O_RDONLY)
    try:
        os.pread(fenced, 4096, 0)
        assert mounted.tell("take lun") == "taken"
        assert any(_is_refused(fenced) for _ in _for_a_while())
        with mounted.lun.open("rb", buffering=0) as afresh:
            assert afresh.read(4096) == PATTERN[:4096]
            assert _is_refused(fenced)
    finally:
        os.close(fenced)


def _for_a_while() -> Iterator[None]:
    """The daemon is told of it, and tells the kernel, in its own time: on a busy machine not at once."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        yield


def _is_refused(fd: int) -> bool:
    try:
        os.pread(fd, 4096, 0)
    except OSError as error:
        return error.errno == errno.EBADE
    return False


STORE_THROUGH_A_FENCED_MAPPING = """
import mmap, os, sys
fenced = os.open(sys.argv[1], os.O_RDWR)
stale = mmap.mmap(fenced, 4096)
stale[:4] = b"mine"
stale.flush()
print("mapped", flush=True)
sys.stdin.readline()
afresh = os.open(sys.argv[1], os.O_RDWR)
try:
    mmap.mmap(afresh, 4096)[:1]
except OSError as error:
    print(error.strerror, flush=True)
os.pwrite(afresh, b"news", 0)
stale[:5] = b"STALE"
stale.flush()
"""


def test_stores_through_a_fenced_mapping_never_reach_the_device(mounted: Mounted) -> None:
    """They fail: with SIGBUS once the page is dropped, else when they are synced."""
    command = [sys.executable, "-c", STORE_THROUGH_A_FENCED_MAPPING, str(mounted.lun)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as storing:
        assert storing.stdout is not None
        assert storing.stdout.readline() == "mapped\n"
        assert mounted.tell("take lun") == "taken"
        said, errors = storing.communicate("\n")
    assert said == "No such device\n"
    assert storing.returncode == -signal.SIGBUS or "Invalid exchange" in errors
    assert mounted.lun.read_bytes()[:5] == b"news\0"


def _is_read_again(mounted: Mounted, fd: int) -> bool:
    """Whether a read reaches the device; the cache is dropped by a thread, soon after the fencing."""
    os.pread(fd, 4096, 0)
    return bool(mounted.asked("read"))


def test_every_option_arrives(mounted: Mounted) -> None:
    flags = [os.O_NONBLOCK, os.O_NOATIME, os.O_NOFOLLOW, os.O_ASYNC, os.O_ASYNC | os.O_NOATIME]
    for flag in flags:
        os.close(os.open(mounted.lun, os.O_RDONLY | flag))
    assert [one[1] for one in mounted.asked("open")] == [
        "NO_RESERVE",
        "RETAIN_RESERVATION",
        "SINGLE",
        "FORCED_OPEN",
        "RETAIN_RESERVATION+FORCED_OPEN",
    ]


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_synchronous_writes_are_durable(mounted: Mounted, flag: int) -> None:
    fd = os.open(mounted.lun, os.O_WRONLY | flag)
    try:
        os.pwrite(fd, b"x" * 512, 0)
        assert mounted.asked("write") == [["write", "0", "512", "True"]]
    finally:
        os.close(fd)


def test_fsync_and_a_writers_close_flush(mounted: Mounted) -> None:
    with mounted.lun.open("r+b", buffering=0) as opened:
        opened.write(b"x")
        os.fsync(opened.fileno())
        assert mounted.asked("flush") == [["flush"]]
        opened.write(b"x")
    assert mounted.asked("flush") == [["flush"]]


def _create(root: Path) -> None:
    (root / "new").write_bytes(b"")


def _rename(root: Path) -> None:
    (root / "lun").rename(root / "other")


REFUSED: dict[str, tuple[Callable[[Path], object], int]] = {
    "create": (_create, errno.EPERM),
    "mkdir": (lambda root: (root / "new").mkdir(), errno.EPERM),
    "mkfifo": (lambda root: os.mkfifo(root / "new"), errno.EPERM),
    "symlink": (lambda root: (root / "new").symlink_to("lun"), errno.EPERM),
    "link": (lambda root: (root / "new").hardlink_to(root / "lun"), errno.EPERM),
    "unlink": (lambda root: (root / "lun").unlink(), errno.EPERM),
    "rmdir": (lambda root: (root / "lun").rmdir(), errno.ENOTDIR),
    "rename": (_rename, errno.EPERM),
    "chmod": (lambda root: (root / "lun").chmod(0o777), errno.EPERM),
    "chown": (lambda root: os.chown(root / "lun", 1, 1), errno.EPERM),
    "truncate to 0": (lambda root: os.truncate(root / "lun", 0), errno.EINVAL),
    "grow": (lambda root: os.truncate(root / "lun", SIZE_BYTES + 1), errno.EINVAL),
    "append": (lambda root: (root / "lun").open("ab"), errno.EINVAL),
    "no-reserve and single": (
        lambda root: os.open(root / "lun", os.O_NONBLOCK | os.O_NOFOLLOW),
        errno.EINVAL,
    ),
    "getxattr": (lambda root: os.getxattr(root / "lun", "user.x"), errno.EOPNOTSUPP),
    "setxattr": (lambda root: os.setxattr(root / "lun", "user.x", b"x"), errno.EOPNOTSUPP),
    "no such LUN": (lambda root: (root / "nothing").stat(), errno.ENOENT),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_errno_its_manual_page_has(mounted: Mounted, what: str) -> None:
    call, code = REFUSED[what]
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        call(mounted.root)
    assert refused.value.errno == code
    assert [entry.name for entry in mounted.root.iterdir()] == ["lun"]


def test_what_changes_nothing_works(mounted: Mounted) -> None:
    os.truncate(mounted.lun, SIZE_BYTES)
    mounted.lun.touch()
    mounted.lun.chmod(0o600)
    _run("dd", "if=/dev/zero", f"of={mounted.lun}", "bs=4k", "count=1", "conv=fsync")
    assert mounted.lun.stat().st_size == SIZE_BYTES


def test_df_shows_a_full_file_system_of_that_size(mounted: Mounted) -> None:
    stat = os.statvfs(mounted.root)
    assert (stat.f_blocks * stat.f_frsize, stat.f_bavail) == (SIZE_BYTES, 0)


def test_mount_shows_its_type(mounted: Mounted) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    assert [one[2] for one in mounts if one[1] == str(mounted.root)] == ["fuse.mpio-fuse"]
