"""The adapter: what becomes of an exception, and of pyfuse3's own types.  Nothing is mounted."""

import errno
import os

import attrs
import pyfuse3
import pytest
import structlog
import structlog.testing

from mpio_fuse.errors import MpioError
from mpio_fuse.fs.operations import Operations, mount_options, request_errno
from tests.fs.memory_device import Expected, MemoryDevice, Unexpected
from tests.fs.trees import tree

LUN = pyfuse3.InodeT(2)


@attrs.frozen
class Context:
    """A RequestContext, which only pyfuse3 itself can make."""

    uid: int = 0
    gid: int = 0
    pid: int = 1
    umask: int = 0

    def __getstate__(self) -> None:
        raise TypeError


CONTEXT: pyfuse3.RequestContext = Context()  # type: ignore[assignment] # see its docstring


async def _opened(device: MemoryDevice) -> tuple[Operations, pyfuse3.FileHandleT]:
    operations = Operations(tree(device))
    opened = await operations.open(LUN, pyfuse3.FlagT(os.O_RDWR), CONTEXT)
    return operations, opened.fh


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Expected("fenced"), errno.EBADE),
        (MpioError("plain"), errno.EIO),
        (ExceptionGroup("tasks", [Expected("a"), MpioError("b")]), errno.EBADE),
        (ExceptionGroup("tasks", [Expected("a"), Unexpected()]), None),
        (Unexpected(), None),
        (OSError(errno.ENOSPC, "not ours"), None),
    ],
)
def test_only_errors_raised_on_purpose_have_an_errno(failure: Exception, code: int | None) -> None:
    assert request_errno(failure) == code


@pytest.mark.expects_log(r"request failed operation=read errno=EBADE reason=fenced")
async def test_an_error_reaches_the_caller_as_its_errno() -> None:
    device = MemoryDevice()
    operations, fh = await _opened(device)
    device.failure = Expected("fenced")
    with pytest.raises(pyfuse3.FUSEError) as told:
        await operations.read(fh, 0, 1)
    assert told.value.errno == errno.EBADE


async def test_one_files_repeated_failure_is_logged_once() -> None:
    device = MemoryDevice()
    operations, fh = await _opened(device)
    with structlog.testing.capture_logs() as records:
        for _ in range(3):
            device.failure = Expected("fenced")
            with pytest.raises(pyfuse3.FUSEError):
                await operations.read(fh, 0, 1)
    assert [(one["event"], one["fh"]) for one in records] == [("request failed", fh)]


async def test_what_contradicts_in_an_open_is_in_the_log() -> None:
    """As grep -r opens files; the program that does sees EINVAL and nothing else."""
    operations = Operations(tree(MemoryDevice(name="naa.5")))
    flags = pyfuse3.FlagT(os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with structlog.testing.capture_logs() as records, pytest.raises(pyfuse3.FUSEError) as told:
        await operations.open(LUN, flags, CONTEXT)
    assert told.value.errno == errno.EINVAL
    (record,) = records
    assert record == {
        "event": "request refused",
        "log_level": "info",
        "operation": "open",
        "errno": "EINVAL",
        "reason": "naa.5: NO_RESERVE+SINGLE: NO_RESERVE goes with no other option (O_NOFOLLOW, O_NONBLOCK)",
        "inode": LUN,
        "uid": 0,
        "pid": 1,
    }


@pytest.mark.expects_log("request failed unexpectedly")
async def test_a_bug_is_eio_and_the_daemon_lives() -> None:
    device = MemoryDevice()
    operations, fh = await _opened(device)
    device.failure = Unexpected()
    with pytest.raises(pyfuse3.FUSEError) as told:
        await operations.write(fh, 0, b"x")
    assert told.value.errno == errno.EIO
    assert await operations.write(fh, 0, b"x") == 1


@pytest.mark.parametrize(
    "operation",
    ["create", "mknod", "mkdir", "symlink", "link", "unlink", "rmdir", "rename"],
)
async def test_changes_of_the_tree_are_eperm(operation: str) -> None:
    with pytest.raises(pyfuse3.FUSEError) as told:
        await getattr(Operations(tree(MemoryDevice())), operation)(1, b"x", CONTEXT)
    assert told.value.errno == errno.EPERM


@pytest.mark.parametrize("operation", ["getxattr", "removexattr", "access"])
async def test_what_the_kernel_answers_itself_is_enosys(operation: str) -> None:
    """ENOSYS, not EOPNOTSUPP: the kernel remembers it and stops asking."""
    with pytest.raises(pyfuse3.FUSEError) as told:
        await getattr(Operations(tree(MemoryDevice())), operation)(LUN, b"x", CONTEXT)
    assert told.value.errno == errno.ENOSYS


async def test_attributes_are_in_fuses_units() -> None:
    entry = await Operations(tree(MemoryDevice(size_bytes=1 << 20))).getattr(LUN, CONTEXT)
    assert (entry.st_size, entry.st_blocks, entry.st_blksize) == (1 << 20, 2048, 4096)
    assert (entry.st_ino, entry.st_nlink, entry.st_uid, entry.st_gid) == (2, 1, 11, 22)


async def test_statfs_is_full() -> None:
    stat = await Operations(tree(MemoryDevice(size_bytes=1 << 20))).statfs(CONTEXT)
    assert (stat.f_blocks * stat.f_frsize, stat.f_bfree, stat.f_files) == (1 << 20, 0, 1)


def test_the_kernel_checks_permissions_and_others_are_let_in_only_when_told() -> None:
    assert "default_permissions" in mount_options(allow_other=False)
    assert "allow_other" not in mount_options(allow_other=False)
    assert "allow_other" in mount_options(allow_other=True)
