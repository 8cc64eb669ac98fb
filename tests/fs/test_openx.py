"""openx on a real FUSE mount."""

import errno
import os
import stat
from pathlib import Path

import pytest

from mpio_fuse import OpenOption, openx
from tests.fs.test_mounted import Mounted, mounted

__all__ = ["mounted"]

RETAIN = OpenOption.RETAIN_RESERVATION
FORCED = OpenOption.FORCED_OPEN


def opened(mounted: Mounted, path: Path | str, flags: int, ext: str | OpenOption) -> str:
    """The options that openx made the file system ask the device for."""
    os.close(openx(path, flags, ext))
    ((_, options),) = mounted.asked("open")
    return options


@pytest.mark.parametrize(
    ("ext", "options"),
    [
        ("default", "DEFAULT"),
        (OpenOption.DEFAULT, "DEFAULT"),
        ("no-reserve", "NO_RESERVE"),
        ("retain", "RETAIN_RESERVATION"),
        ("single", "SINGLE"),
        ("forced", "FORCED_OPEN"),
        ("forced+retain", "RETAIN_RESERVATION+FORCED_OPEN"),
        (FORCED | RETAIN, "RETAIN_RESERVATION+FORCED_OPEN"),
    ],
)
def test_each_option_reaches_the_device(
    mounted: Mounted, ext: str | OpenOption, options: str
) -> None:
    assert opened(mounted, mounted.lun, os.O_RDONLY, ext) == options


def test_without_ext_it_is_a_plain_open(mounted: Mounted) -> None:
    os.close(openx(str(mounted.lun), os.O_RDONLY))
    assert mounted.asked("open") == [["open", "DEFAULT"]]


def test_what_the_path_and_the_flags_say_is_added(mounted: Mounted) -> None:
    forced = mounted.root / ".ext" / "forced" / "lun"
    assert opened(mounted, forced, os.O_RDONLY, RETAIN) == "RETAIN_RESERVATION+FORCED_OPEN"
    assert opened(mounted, forced, os.O_RDONLY, FORCED) == "FORCED_OPEN"
    assert opened(mounted, mounted.lun, os.O_NOFOLLOW, "retain") == "RETAIN_RESERVATION+SINGLE"


def test_it_gives_a_descriptor_as_os_open_does(mounted: Mounted) -> None:
    fd = openx(mounted.lun, os.O_RDWR, "retain")
    try:
        assert os.pwrite(fd, b"data", 0) == 4
        assert os.pread(fd, 4, 0) == b"data"
        assert stat.S_ISREG(os.fstat(fd).st_mode)
        assert os.get_inheritable(fd) is False
    finally:
        os.close(fd)


def test_relative_names_and_symbolic_links_are_followed(
    mounted: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "database"
    link.symlink_to(mounted.lun)
    assert opened(mounted, link, os.O_RDONLY, "retain") == "RETAIN_RESERVATION"
    monkeypatch.chdir(tmp_path)
    assert opened(mounted, "mnt/lun", os.O_RDONLY, "single") == "SINGLE"
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("place", "ext", "code", "words"),
    [
        (
            "mnt/lun",
            "retian",
            errno.EINVAL,
            "there is no open option 'retian'; the options are no-",
        ),
        ("mnt/lun", "no-reserve+single", errno.EINVAL, "NO_RESERVE goes with no other option"),
        ("mnt/.ext/single/lun", "no-reserve", errno.EINVAL, "NO_RESERVE goes with no other option"),
        ("mnt/lun", None, errno.EINVAL, "None is no open option; name it, as 'retain'"),
        ("mnt/nothing", "retain", errno.ENOENT, "No such file or directory"),
        ("mnt", "retain", errno.ENOTTY, "not the file of a LUN"),
        ("mnt/.ext/retain", "retain", errno.ENOTTY, "not the file of a LUN"),
        ("image", "retain", errno.ENOTTY, "not in an mpio-fuse mount"),
        ("missing", "retain", errno.ENOENT, "No such file or directory"),
    ],
)
def test_an_error_says_what_and_where(
    mounted: Mounted, tmp_path: Path, place: str, ext: object, code: int, words: str
) -> None:
    (tmp_path / "image").touch()
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        openx(tmp_path / place, os.O_RDONLY, ext)  # type: ignore[arg-type] # as a program may
    assert refused.value.errno == code
    assert words in str(refused.value)
    assert refused.value.filename == str(tmp_path / place)
    assert mounted.asked("open") == []


def test_a_contradiction_with_the_flags_is_explained(mounted: Mounted) -> None:
    with pytest.raises(OSError, match="contradict each other") as refused:
        openx(mounted.lun, os.O_NONBLOCK, "retain")
    assert refused.value.errno == errno.EINVAL


def test_a_refusal_by_the_device_is_explained(mounted: Mounted) -> None:
    mounted.tell("reserve lun")
    with pytest.raises(
        OSError, match="Input/output error: another host has it reserved"
    ) as refused:
        openx(mounted.lun, os.O_RDONLY, "single")
    assert refused.value.errno == errno.EIO
