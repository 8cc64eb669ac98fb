"""File systems over memory devices, and the callers who ask something of them."""

import os
from collections.abc import Mapping

from mpio_fuse.fs.attributes import Ownership
from mpio_fuse.fs.caller import Caller
from mpio_fuse.fs.filesystem import NO_DEFAULTS, FileSystem
from mpio_fuse.fs.flags import FLAG_OPTIONS
from mpio_fuse.fs.namespace import Namespace
from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.fs.memory_device import MemoryDevice

ROOT = Caller(uid=0, gid=0, pid=os.getpid())
MADE_NS = 1_700_000_000_000_000_000


def tree(
    *devices: MemoryDevice,
    force_group: int | None = None,
    flag_options: Mapping[int, OpenOption] = FLAG_OPTIONS,
    default_options: Mapping[str, OpenOption] = NO_DEFAULTS,
) -> FileSystem:
    """A file system that shows these devices; inode 2 is the first by name."""
    return FileSystem(
        Namespace(devices),
        ownership=Ownership(mode=0o640, uid=11, gid=22),
        time_ns=MADE_NS,
        force_group=force_group,
        flag_options=flag_options,
        default_options=default_options,
    )
