"""Names and inodes."""

import errno

import pytest

from mpio_fuse.fs.namespace import (
    ROOT_INODE,
    DeviceFile,
    Namespace,
    file_name,
    is_file_name,
)
from mpio_fuse.fs.refused import Refused
from tests.fs.memory_device import MemoryDevice

A, B = MemoryDevice("naa.b"), MemoryDevice("naa.a")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("naa.6001405deadbeef", "naa.6001405deadbeef"),
        ("t10.LIO-ORG%20disk", "t10.LIO-ORG%20disk"),
        ("a/b", "a_b"),
        ("white space\n", "white_space_"),
        ("nul\0", "nul_"),
        (".ext", "_ext"),
        ("..", "_"),
        ("", "_"),
        ("ü", "_"),
        ("x" * 300, "x" * 255),
    ],
)
def test_any_text_becomes_a_plain_name(text: str, name: str) -> None:
    assert file_name(text) == name
    assert is_file_name(file_name(text))
    assert is_file_name(text) is (text == name)


def test_files_are_listed_by_name_under_their_own_inodes() -> None:
    namespace = Namespace([A, B])
    assert list(namespace.root.entries) == [b"naa.a", b"naa.b"]
    assert [file.device for file in namespace.files] == [B, A]
    assert len({file.inode for file in namespace.files} | {ROOT_INODE}) == 3


def test_a_file_is_found_by_its_name() -> None:
    namespace = Namespace([A, B])
    found = namespace.lookup(ROOT_INODE, b"naa.b")
    assert isinstance(found, DeviceFile)
    assert found.device is A
    with pytest.raises(Refused, match=r"no LUN named b'naa\.c'"):
        namespace.lookup(ROOT_INODE, b"naa.c")


def test_two_devices_cannot_have_one_name() -> None:
    with pytest.raises(Refused, match="'a_b' is taken by another LUN") as refused:
        Namespace([MemoryDevice("a/b"), MemoryDevice("a_b")])
    assert refused.value.errno == errno.EEXIST


@pytest.mark.parametrize("name", [b".", b".."])
def test_dot_and_dot_dot_of_the_root_are_the_root(name: bytes) -> None:
    namespace = Namespace([A])
    assert namespace.lookup(ROOT_INODE, name) is namespace.root


def test_a_file_is_no_directory_and_a_directory_no_file() -> None:
    namespace = Namespace([A])
    inode = namespace.files[0].inode
    with pytest.raises(Refused) as not_a_directory:
        namespace.lookup(inode, b"x")
    with pytest.raises(Refused) as is_a_directory:
        namespace.file(ROOT_INODE)
    with pytest.raises(Refused) as nothing:
        namespace.node(99)
    errors = [not_a_directory, is_a_directory, nothing]
    assert [one.value.errno for one in errors] == [errno.ENOTDIR, errno.EISDIR, errno.ENOENT]
