"""Option directories in a real FUSE mount: names, options, and one LUN open through several inodes at once."""

import errno
import mmap
import os
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.fs.test_mounted import SIZE_BYTES, Mounted, mounted

__all__ = ["mounted"]

EVERY_WAY = ("lun", ".ext/retain/lun", ".ext/single/lun", ".ext/forced+retain/lun")


def test_a_walk_through_the_tree_opens_each_lun_once(mounted: Mounted) -> None:
    found = subprocess.run(["find", mounted.root], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [str(mounted.root), str(mounted.lun)]
    cat = ["find", str(mounted.root), "-type", "f", "-exec", "cat", "{}", "+"]
    subprocess.run(cat, stdout=subprocess.DEVNULL, check=True)
    assert mounted.asked("open") == [["open", "DEFAULT"]]


def test_who_names_it_sees_the_options_and_the_luns(mounted: Mounted) -> None:
    options = mounted.root / ".ext"
    assert sorted(os.listdir(options)) == ["forced", "no-reserve", "retain", "single"]  # noqa: PTH208
    found = subprocess.run(["find", options, "-type", "f"], capture_output=True, check=True)
    assert len(found.stdout.split()) == 4
    assert (options / "single+retain" / "lun").stat().st_size == SIZE_BYTES
    assert (options / "retain" / ".." / "forced" / "lun").samefile(options / "forced" / "lun")


@pytest.mark.parametrize(
    ("directory", "options"),
    [
        ("no-reserve", "NO_RESERVE"),
        ("retain", "RETAIN_RESERVATION"),
        ("single", "SINGLE"),
        ("forced", "FORCED_OPEN"),
        ("forced+retain", "RETAIN_RESERVATION+FORCED_OPEN"),
        ("retain+forced", "RETAIN_RESERVATION+FORCED_OPEN"),
        ("single+forced+retain", "RETAIN_RESERVATION+SINGLE+FORCED_OPEN"),
    ],
)
def test_an_open_through_a_directory_asks_for_its_options(
    mounted: Mounted, directory: str, options: str
) -> None:
    (mounted.root / ".ext" / directory / "lun").read_bytes()
    assert mounted.asked("open") == [["open", options]]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (".ext/force/lun", errno.ENOENT),
        (".ext/forced+forced/lun", errno.ENOENT),
        (".ext/retain+no-reserve/lun", errno.EINVAL),
        (".ext/retain/nothing", errno.ENOENT),
        (".ext/retain/lun/x", errno.ENOTDIR),
    ],
)
def test_what_makes_no_sense_is_refused(mounted: Mounted, name: str, code: int) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        os.open(mounted.root / name, os.O_RDONLY)
    assert refused.value.errno == code


def test_nothing_can_be_made_or_removed_there(mounted: Mounted) -> None:
    with pytest.raises(PermissionError):
        (mounted.root / ".ext" / "retain" / "new").write_bytes(b"")
    with pytest.raises(PermissionError):
        (mounted.root / ".ext" / "retain" / "lun").unlink()
    with pytest.raises(PermissionError):
        (mounted.root / ".ext" / "new").mkdir()


def _talk(first: Path, second: Path) -> None:
    """Two files open at once, in this order: what one writes the other reads, though both have read before."""
    fds = [os.open(one, os.O_RDWR) for one in (first, second)]
    try:
        for text in (os.urandom(3), os.urandom(3)):
            for writer, reader in (fds, fds[::-1]):
                os.pread(reader, 8192, 0)
                os.pwrite(writer, text, 4090)
                assert os.pread(reader, 3, 4090) == text
    finally:
        for fd in fds:
            os.close(fd)


def test_a_write_by_one_name_is_seen_by_another(mounted: Mounted) -> None:
    for first, second in product(EVERY_WAY, repeat=2):
        _talk(mounted.root / first, mounted.root / second)


def test_pages_from_before_are_not_believed_after_a_write_by_another_name(mounted: Mounted) -> None:
    for name in (*EVERY_WAY, *EVERY_WAY):
        lun = mounted.root / name
        before = lun.read_bytes()[:8]
        after = bytes(byte + 1 for byte in before)
        with lun.open("r+b") as opened:
            opened.write(after)
    for name in EVERY_WAY:
        assert (mounted.root / name).read_bytes()[:8] == bytes([8] * 8)


def test_alone_a_file_of_a_directory_is_cached_and_can_be_mapped(mounted: Mounted) -> None:
    retain = mounted.root / ".ext" / "retain" / "lun"
    with retain.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[4096:4100] = b"page"
        mapped.flush()
        assert mounted.asked("write") == [["write", "4096", "4096", "False"]]
    assert mounted.lun.read_bytes()[4096:4100] == b"page"


def test_beside_another_name_a_shared_mapping_is_refused_and_a_private_one_is_not(
    mounted: Mounted,
) -> None:
    mounted.lun.write_bytes(b"data")
    with mounted.lun.open("rb"):
        fd = os.open(mounted.root / ".ext" / "retain" / "lun", os.O_RDWR)
        try:
            with pytest.raises(OSError, match="No such device"):
                mmap.mmap(fd, 0)
            with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE) as mapped:
                assert mapped[:4] == b"data"
        finally:
            os.close(fd)


def test_a_mapping_sees_what_is_written_by_another_name(mounted: Mounted) -> None:
    with mounted.lun.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    fd = os.open(mounted.root / ".ext" / "retain" / "lun", os.O_RDWR)
    try:
        assert mapped[:4] == bytes(4)
        os.pwrite(fd, b"news", 0)
        assert mapped[:4] == b"news"
        mapped[4:8] = b"mine"
        mapped.flush()
        assert os.pread(fd, 8, 0) == b"newsmine"
    finally:
        mapped.close()
        os.close(fd)


def test_dd_writes_by_any_name(mounted: Mounted, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(SIZE_BYTES))
    target = mounted.root / ".ext" / "retain" / "lun"
    with mounted.lun.open("rb"):
        for flags in ([], ["oflag=direct"]):
            command = ["dd", f"if={image}", f"of={target}", "bs=1M", "status=none", *flags]
            subprocess.run(command, check=True)
            assert mounted.lun.read_bytes() == image.read_bytes()
            image.write_bytes(os.urandom(SIZE_BYTES))
