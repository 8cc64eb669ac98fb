"""The few system calls Python has no binding for.

They go through ctypes, which lets go of the interpreter lock: unmounting and syncing our own tree
wait for requests that this very process has to answer from another thread.
"""

import ctypes
import os

MNT_DETACH = 2

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_IO_FLUSHER = 57
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

KEPT_BYTES = 128 << 20
LARGEST_KEPT_BYTES = 16 << 20
"""What is allocated in one piece above this is given back when it is freed."""

_libc = ctypes.CDLL(None, use_errno=True)


def umount2(mountpoint: str, *, lazily: bool) -> None:
    """Unmount a tree.  Blocks while dirty pages are written.

    Raises:
        OSError: EBUSY, EINVAL (not a mountpoint), EPERM.
    """
    flags = MNT_DETACH if lazily else 0
    _check(_libc.umount2(os.fsencode(mountpoint), flags), mountpoint)


def syncfs(mountpoint: str) -> None:
    """Write what programs have changed in mapped pages.

    Raises:
        OSError: the tree cannot be opened, or a write failed.
    """
    fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(_libc.syncfs(fd), mountpoint)
    finally:
        os.close(fd)


def lock_memory() -> None:
    """Have no page that this process uses, now or later, paged out again.

    Raises:
        OSError: EPERM or ENOMEM, the limit on locked memory.
    """
    _check(_libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT), "mlockall")


def become_io_flusher() -> None:
    """Have no memory for this process reclaimed by writing to a disk it serves (PR_SET_IO_FLUSHER).

    Raises:
        OSError: EPERM without CAP_SYS_RESOURCE, EINVAL before Linux 5.6.
    """
    _check(_libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0), "PR_SET_IO_FLUSHER")


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, instead of giving it to the kernel and taking it anew.

    Without it every buffer of 1 MiB is 256 page faults, each of which locks its page as well.  Only glibc has this.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
