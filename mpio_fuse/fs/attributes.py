"""What stat(2) says about the tree."""

import stat

import attrs

from mpio_fuse.fs.namespace import Directory, Node

PREFERRED_IO_BYTES = 4096
STAT_BLOCK_BYTES = 512
"""The unit of st_blocks, whatever the device's block size."""

CACHED_FOR_S = 10.0
"""How long the kernel may answer for us; nothing but a resize changes what it knows."""


@attrs.frozen
class Ownership:
    """Of every file in the tree.  ``mode`` holds permission bits only."""

    mode: int = 0o660
    uid: int = 0
    gid: int = 0

    @property
    def directory_mode(self) -> int:
        """Whoever may read a file may list the directory; nobody may write it, as nothing can be created."""
        return 0o555


@attrs.frozen
class Attributes:
    """One node's; ``cached_for_s`` is 0 for what may be different at the next look."""

    inode: int
    mode: int
    links: int
    uid: int
    gid: int
    size_bytes: int
    time_ns: int
    cached_for_s: float


def attributes(node: Node, ownership: Ownership, time_ns: int) -> Attributes:
    """A node's attributes; ``time_ns`` is when the tree was made, the only time it knows."""
    if isinstance(node, Directory):
        # The count of subdirectories tells find(1) and its kin whether to look for any.
        listed = sum(isinstance(entry, Directory) for entry in node.entries.values())
        mode, links, size_bytes = stat.S_IFDIR | ownership.directory_mode, 2 + listed, 0
    else:
        mode, links, size_bytes = stat.S_IFREG | ownership.mode, 1, node.device.size_bytes
    is_settled = isinstance(node, Directory) or size_bytes > 0
    return Attributes(
        inode=node.inode,
        mode=mode,
        links=links,
        uid=ownership.uid,
        gid=ownership.gid,
        size_bytes=size_bytes,
        time_ns=time_ns,
        cached_for_s=CACHED_FOR_S if is_settled else 0.0,
    )
