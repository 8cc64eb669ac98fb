"""Names and inodes of the tree: a root directory with one file per device.

A file carries the open options of the place it was found in, so that directories which stand for
options (``.ext/no-reserve/LUN``) need nothing but more nodes here.  Inodes are fixed for the life of a
mount: the kernel may forget one and ask for it again.
"""

import errno
from collections.abc import Iterable

import attrs

from mpio_fuse.fs.refused import Refused
from mpio_fuse.fs.served import ServedDevice
from mpio_fuse.reserve.fig07_decision import OpenOption

ROOT_INODE = 1
MAXIMUM_NAME_BYTES = 255
RESERVED_NAMES = frozenset({"", ".", "..", ".ext"})

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:=%~+@,")


@attrs.frozen(eq=False)
class DeviceFile:
    """A device under a name.  ``options`` come from the directory; an open's flags add to them."""

    inode: int
    name: str
    device: ServedDevice
    options: OpenOption = OpenOption.DEFAULT


@attrs.frozen(eq=False)
class Directory:
    """``entries`` in the order they are listed; ``parent_inode`` of the root is its own."""

    inode: int
    parent_inode: int
    entries: "dict[bytes, Node]" = attrs.Factory(dict)


Node = DeviceFile | Directory


def file_name(text: str) -> str:
    """A WWID or alias as a file name: one plain component, never hidden, never too long."""
    plain = "".join(char if char in _PLAIN else "_" for char in text)[:MAXIMUM_NAME_BYTES]
    return plain if plain and not plain.startswith(".") else f"_{plain.lstrip('.')}"


def is_file_name(text: str) -> bool:
    """Whether a text would be used as a file name just as it is (what an alias has to be)."""
    return text not in RESERVED_NAMES and file_name(text) == text


class Namespace:
    """Finds nodes by inode, and by name within a directory."""

    def __init__(self, devices: Iterable[ServedDevice]) -> None:
        """Show each device under its own name.

        Raises:
            Refused: EEXIST, two devices would have one name.
        """
        self.root = Directory(ROOT_INODE, ROOT_INODE)
        self._nodes: dict[int, Node] = {ROOT_INODE: self.root}
        named = [(file_name(one.name), one) for one in devices]
        for name, device in sorted(named, key=lambda pair: pair[0]):
            self._add(name, device)

    def _add(self, name: str, device: ServedDevice) -> None:
        key = name.encode()
        if key in self.root.entries:
            what = f"the name {name!r} is taken by another LUN"
            raise Refused(what, errno.EEXIST, lun=device.name, hint="give it another alias")
        node = DeviceFile(len(self._nodes) + ROOT_INODE, name, device)
        self._nodes[node.inode] = node
        self.root.entries[key] = node

    @property
    def files(self) -> list[DeviceFile]:
        """All device files, in inode order."""
        return [node for node in self._nodes.values() if isinstance(node, DeviceFile)]

    def node(self, inode: int) -> Node:
        """The node of an inode.

        Raises:
            Refused: ENOENT.
        """
        try:
            return self._nodes[inode]
        except KeyError:
            raise Refused(f"there is no inode {inode}", errno.ENOENT) from None

    def file(self, inode: int) -> DeviceFile:
        """The file of an inode.

        Raises:
            Refused: ENOENT, or EISDIR.
        """
        node = self.node(inode)
        if isinstance(node, Directory):
            raise Refused("this is a directory", errno.EISDIR)
        return node

    def directory(self, inode: int) -> Directory:
        """The directory of an inode.

        Raises:
            Refused: ENOENT, or ENOTDIR.
        """
        node = self.node(inode)
        if isinstance(node, DeviceFile):
            raise Refused("this is not a directory", errno.ENOTDIR)
        return node

    def lookup(self, parent_inode: int, name: bytes) -> Node:
        """The node of that name, ``.`` and ``..`` included.

        Raises:
            Refused: ENOENT, or ENOTDIR.
        """
        parent = self.directory(parent_inode)
        if name == b".":
            return parent
        if name == b"..":
            return self.node(parent.parent_inode)
        try:
            return parent.entries[name]
        except KeyError:
            raise Refused(f"there is no LUN named {name!r}", errno.ENOENT) from None
