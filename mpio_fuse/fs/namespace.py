"""Names and inodes of the tree: one file per device in the root, and again in each directory that stands for options.

::

    LUN                      the device
    .ext/retain/LUN          the same, opened with an option
    .ext/forced+retain/LUN   with several: any combination that makes sense, in any order

A file carries the open options of the directory it was found in.

What is listed: ``.ext`` is not, so that a program that walks the tree (grep -r, find, cp -r, a backup) neither opens
a LUN once for each option nor ever forces one open; it is there for who names it.  ``.ext`` itself
lists a directory for each option; combinations are found by name only.  A name with an unknown word does not
exist (ENOENT); one whose options contradict each other is refused as the same flags would be (EINVAL).

Inodes are fixed for the life of a mount: the kernel may forget one and ask for it again.  A file has one inode for
each set of options, whatever the order they were named in; a directory has one for each name, because the
kernel wants directories to have a single place.
"""

import errno
from collections.abc import Iterable

import attrs

from mpio_fuse.fs.refused import Refused
from mpio_fuse.fs.served import ServedDevice
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.option_words import WORDS, UnknownOption, parse_options

ROOT_INODE = 1
MAXIMUM_NAME_BYTES = 255
OPTIONS_NAME = ".ext"
RESERVED_NAMES = frozenset({"", ".", "..", OPTIONS_NAME})

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
    """``entries`` in the order they are listed, ``unlisted`` besides; the root's ``parent_inode`` is its own."""

    inode: int
    parent_inode: int
    entries: "dict[bytes, Node]" = attrs.Factory(dict)
    unlisted: "dict[bytes, Node]" = attrs.Factory(dict)


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
        self._nodes: dict[int, Node] = {}
        self._files: dict[tuple[str, OpenOption], DeviceFile] = {}
        self.root = self._new_directory(ROOT_INODE)
        named = [(file_name(one.name), one) for one in devices]
        for name, device in sorted(named, key=lambda pair: pair[0]):
            self._add(name, device)
        self.options = self._new_directory(ROOT_INODE)
        self.root.unlisted[OPTIONS_NAME.encode()] = self.options
        for word, option in WORDS.items():
            self.options.entries[word.encode()] = self._option_directory(option)

    def _add(self, name: str, device: ServedDevice) -> None:
        key = name.encode()
        if key in self.root.entries:
            what = f"the name {name!r} is taken by another LUN"
            raise Refused(what, errno.EEXIST, lun=device.name, hint="give it another alias")
        self.root.entries[key] = self._file(name, device, OpenOption.DEFAULT)

    def _file(self, name: str, device: ServedDevice, options: OpenOption) -> DeviceFile:
        """The file of a device that stands for some options; made when first asked for."""
        found = self._files.get((name, options))
        if found is None:
            found = DeviceFile(self._next_inode(), name, device, options)
            self._nodes[found.inode] = self._files[name, options] = found
        return found

    def _option_directory(self, options: OpenOption) -> Directory:
        """A new directory with every device in it."""
        directory = self._new_directory(self.options.inode)
        for file in self.files:
            directory.entries[file.name.encode()] = self._file(file.name, file.device, options)
        return directory

    def _new_directory(self, parent_inode: int) -> Directory:
        directory = Directory(self._next_inode(), parent_inode)
        self._nodes[directory.inode] = directory
        return directory

    def _next_inode(self) -> int:
        return len(self._nodes) + ROOT_INODE

    @property
    def files(self) -> list[DeviceFile]:
        """One file for each device, those in the root, in inode order."""
        return [node for node in self.root.entries.values() if isinstance(node, DeviceFile)]

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
            UsageError: EINVAL, a directory whose options contradict each other.
        """
        parent = self.directory(parent_inode)
        if name == b".":
            return parent
        if name == b"..":
            return self.node(parent.parent_inode)
        found = parent.entries.get(name) or parent.unlisted.get(name)
        if found is not None:
            return found
        if parent is self.options:
            return self._combination(name)
        raise Refused(f"there is no LUN named {name!r}", errno.ENOENT)

    def _combination(self, name: bytes) -> Directory:
        """The directory of several options; each order of their words is one of its own, and there are few."""
        try:
            options = parse_options(name.decode("ascii", errors="replace"))
        except UnknownOption as error:
            raise Refused(str(error), errno.ENOENT) from None
        if not options:
            raise Refused("the default needs no directory", errno.ENOENT)
        directory = self._option_directory(options)
        self.options.unlisted[name] = directory
        return directory
