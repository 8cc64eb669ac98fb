"""What is mounted where, as the kernel tells it; and a host without FUSE."""

import os
from pathlib import Path

import pytest

from mpio_fuse.daemon import mountpoint
from mpio_fuse.daemon.mountpoint import Mount, mounted_at, mounts, require_fuse
from mpio_fuse.errors import MpioError

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
90 22 0:52 / /mnt/two\040words rw,nosuid shared:7 master:2 - fuse.mpio-fuse mpio-fuse rw,user_id=0
nonsense
"""


def test_mountinfo_is_read_with_its_escapes() -> None:
    assert mounts(MOUNTINFO) == [
        Mount("8:1", "/", "ext4", "/dev/sda1"),
        Mount("0:52", "/mnt/two words", "fuse.mpio-fuse", "mpio-fuse"),
    ]


def test_proc_is_mounted_and_a_new_directory_is_not(tmp_path: Path) -> None:
    proc = mounted_at(Path("/proc"))
    assert proc is not None
    assert proc.fstype == "proc"
    assert mounted_at(tmp_path) is None


def test_a_host_without_fuse_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MpioError, match=r"no FUSE here: .*modprobe fuse.*package fuse3"):
        require_fuse(tmp_path / "fuse")


def test_names_with_control_characters_and_other_encodings_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel escapes a blank, a tab, a newline and a backslash, and nothing else."""
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(mountpoint, "MOUNTINFO", file)
    file.write_bytes(b"90 22 0:52 / /a\\012b\r\x0b\xc2\x85\xff rw - fuse.mpio-fuse mpio-fuse rw\n")
    found = mounted_at(Path(os.fsdecode(b"/a\nb\r\x0b\xc2\x85\xff")))
    assert found is not None
    assert found.device == "0:52"
