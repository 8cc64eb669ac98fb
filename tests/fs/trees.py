"""File systems over memory devices, and the callers who ask something of them."""

import os

from mpio_fuse.fs.attributes import Ownership
from mpio_fuse.fs.caller import Caller
from mpio_fuse.fs.filesystem import FileSystem
from mpio_fuse.fs.namespace import Namespace
from tests.fs.memory_device import MemoryDevice

ROOT = Caller(uid=0, gid=0, pid=os.getpid())
MADE_NS = 1_700_000_000_000_000_000


def tree(*devices: MemoryDevice, force_group: int | None = None) -> FileSystem:
    """A file system that shows these devices; inode 2 is the first by name."""
    ownership = Ownership(mode=0o640, uid=11, gid=22)
    namespace = Namespace(devices)
    return FileSystem(namespace, ownership=ownership, time_ns=MADE_NS, force_group=force_group)
