"""Who uses a disk, from /proc and /sys laid out as real ones."""

from pathlib import Path

import pytest

from mpio_fuse.device.users import Opener, find_openers, find_user
from tests.device.trees import Trees


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """A disk sda with a partition sda1, and another disk sdb; the text of an idle host's files."""
    trees = Trees(tmp_path)
    trees.disk("sda", number="8:0")
    trees.partition("sda", "sda1", "8:1")
    trees.disk("sdb", number="8:16")
    trees.file("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw")
    trees.file("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority")
    return trees


def users(trees: Trees) -> tuple[str | None, str | None]:
    """Of sda, and of sdb, which nobody uses in any of these tests."""
    return find_user("sda", trees.roots), find_user("sdb", trees.roots)


def test_nobody(trees: Trees) -> None:
    assert users(trees) == (None, None)


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("30 1 8:0 / /srv rw,relatime shared:1 - ext4 /dev/sda rw", "mounted on /srv"),
        ("30 1 8:1 / /srv rw - ext4 /dev/whatever rw", "partition sda1 mounted on /srv"),
        (r"30 1 8:0 / /my\040disk rw - ext4 /dev/sda rw", "mounted on /my disk"),
        (r"30 1 8:0 / /a\033[2J rw - ext4 /dev/sda rw", "mounted on /a?[2J"),
        ("30 1 0:35 / /btr rw - btrfs {dev}/sda rw", "mounted on /btr"),
        ("30 1 0:35 / /btr rw - btrfs {dev}/disk/by-id/x rw", "partition sda1 mounted on /btr"),
        ("30 1 8:2 / /other rw - ext4 /dev/sda2 rw", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_mounted(trees: Trees, line: str, user: str | None) -> None:
    trees.link("dev/disk/by-id/x", "dev/sda1")
    trees.file("proc/self/mountinfo", line.replace("{dev}", str(trees.roots.dev)))
    assert users(trees) == (user, None)


def test_swap(trees: Trees) -> None:
    node = trees.roots.dev / "sda1"
    trees.file(
        "proc/swaps", f"Filename\tType\n{node}                               partition\t1\t0\t-2"
    )
    assert users(trees) == ("partition sda1 used as swap", None)


def test_held_by_a_mapping(trees: Trees) -> None:
    trees.file("sys/class/block/dm-3/dm/name", "vg0-data")
    trees.file("sys/class/block/sda/holders/dm-3", "")
    assert users(trees) == ("held by dm-3 (vg0-data)", None)


def test_a_partition_held_by_an_array(trees: Trees) -> None:
    trees.file("sys/class/block/sda1/holders/md0", "")
    assert users(trees) == ("partition sda1 held by md0", None)


def test_backing_a_loop_device(trees: Trees) -> None:
    trees.file("sys/class/block/loop4/loop/backing_file", str(trees.roots.dev / "sda"))
    assert users(trees) == ("held by loop4", None)


def test_a_program(trees: Trees) -> None:
    trees.opener(77, "qemu", "sda", ["qemu"])
    assert [str(one) for one in find_openers("sda", trees.roots)] == ["qemu (pid 77)"]
    assert find_openers("sdb", trees.roots) == []


@pytest.mark.parametrize(
    ("words", "is_daemon"),
    [
        (["/usr/bin/python", "-m", "mpio_fuse.cli.main", "mount", "/mnt/a"], True),
        (["/usr/bin/python", "/usr/bin/mpio-fuse", "mount", "/mnt/a", "--foreground"], True),
        (["/usr/bin/python", "/usr/bin/mpio-fuse", "discover"], False),
        (["vi", "mount", "notes", "mpio-fuse"], False),
        (["qemu"], False),
    ],
)
def test_a_daemon_is_known_by_its_command_line(
    trees: Trees, words: list[str], *, is_daemon: bool
) -> None:
    trees.opener(77, "python", "sda", words)
    assert find_openers("sda", trees.roots) == [Opener(77, "python", is_daemon)]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    trees = Trees(tmp_path)
    assert find_user("sda", trees.roots) is None
    assert find_openers("sda", trees.roots) == []
