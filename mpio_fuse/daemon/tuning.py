"""Making the process and its mount fit for the block I/O path.  All of it best effort, each refusal logged.

A FUSE daemon below a file system can deadlock in memory reclaim: the kernel writes dirty pages to get memory, the
daemon needs memory to write them.  Locked pages and PR_SET_IO_FLUSHER take the daemon out of that circle.

The kernel's defaults are for network file systems: 128 KiB of read-ahead, 12 requests in the background (which
is what asynchronous direct I/O, a loop device's, counts as).
"""

from collections.abc import Callable
from pathlib import Path

import structlog

from mpio_fuse.daemon import kernel

log = structlog.get_logger(__name__)

READ_AHEAD_KIB = 1024
BACKGROUND_REQUESTS = 128

_SYS = Path("/sys")


def protect_process() -> None:
    """Keep this process out of memory reclaim."""
    kernel.keep_freed_memory()
    for what, do in (
        ("memory not locked", kernel.lock_memory),
        ("not an I/O flusher", kernel.become_io_flusher),
    ):
        _attempt(what, do)


def widen_mount(device: str, sys: Path = _SYS) -> None:
    """Let the kernel have more requests under way; ``device`` is the mount's ``major:minor``."""
    minor = device.partition(":")[2]
    connection = sys / "fs/fuse/connections" / minor
    for file, value in (
        (sys / "class/bdi" / device / "read_ahead_kb", READ_AHEAD_KIB),
        (connection / "max_background", BACKGROUND_REQUESTS),
        (connection / "congestion_threshold", BACKGROUND_REQUESTS * 3 // 4),
    ):
        try:
            file.write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            log.debug("mount not tuned", file=str(file), cause=error.strerror)


def _attempt(what: str, do: Callable[[], None]) -> None:
    try:
        do()
    except OSError as error:
        hint = "run as root, or raise the limit; memory pressure can stall this host"
        log.warning(what, cause=error.strerror, next_step=hint)
