"""Runs in the guest: one more LUN of an iSCSI fabric, whose backing store can be held so that commands stay in flight.

A suspended device-mapper mapping keeps what is sent to it until it is resumed.
"""

import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rtslib_fb as rtslib

from tests.lab import sysfs
from tests.lab.fabric import TARGET_NAME, Fabric, FabricKind
from tests.lab.initiator import initiator_name

NUMBER = 9
MAPPING = "held"
DEVICE = "/dev/dm-0"
BACKING = Path("/dev/shm/held")  # noqa: S108 (the guest's own)
SIZE_BYTES = 64 << 20

Nodes = dict[tuple[str, int], str]
"""sg nodes by host and underpath."""


def hold() -> None:
    """From now on nothing that reaches the backing store ends."""
    _dmsetup("suspend", "--nolockfs", "--noflush", MAPPING)


def let_go() -> None:
    """What was kept goes on."""
    _dmsetup("resume", MAPPING)


@contextmanager
def held_disk(fabric: Fabric) -> Iterator[Nodes]:
    """While entered there is LUN `NUMBER`."""
    offered = _offered_by_tgt if fabric.kind is FabricKind.TGT else _offered_by_lio
    with _mapping(), offered(fabric), _found(fabric) as nodes:
        yield nodes


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


def _dmsetup(*words: str) -> None:
    _run("dmsetup", "--noudevsync", *words)


@contextmanager
def _mapping() -> Iterator[None]:
    sysfs.load("dm-mod", "loop")
    with BACKING.open("wb") as file:
        file.truncate(SIZE_BYTES)
    loop = _run("losetup", "--find", "--show", str(BACKING))
    try:
        _dmsetup("create", MAPPING, "--table", f"0 {SIZE_BYTES // 512} linear {loop} 0")
        try:
            yield
        finally:
            _dmsetup("remove", "--retry", MAPPING)
    finally:
        _run("losetup", "--detach", loop)
        BACKING.unlink()


@contextmanager
def _found(fabric: Fabric) -> Iterator[Nodes]:
    """Every session has looked for the LUN."""
    _run("iscsiadm", "-m", "session", "--rescan")
    sessions = fabric.hosts * fabric.underpaths
    all_disks = sysfs.wait_for_disks(sessions * (len(fabric.luns) + 1))
    disks = [disk for disk in all_disks if disk.lun == NUMBER]
    try:
        yield {_key(disk): disk.sg for disk in disks}
    finally:
        let_go()
        for disk in disks:
            (disk.device / "delete").write_text("1\n")


def _key(disk: sysfs.Disk) -> tuple[str, int]:
    number = disk.ancestor_number("session")
    initiator = Path(f"/sys/class/iscsi_session/session{number}/initiatorname").read_text().strip()
    connection = Path(f"/sys/class/iscsi_connection/connection{number}:0")
    address = (connection / "persistent_address").read_text().strip()
    return initiator.rsplit("-", 1)[1], int(address.rsplit(".", 1)[1]) - 1


@contextmanager
def _offered_by_lio(fabric: Fabric) -> Iterator[None]:
    with warnings.catch_warnings():
        # rtslib asks pyudev in a way that pyudev has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        disk = rtslib.BlockStorageObject(
            MAPPING, DEVICE, wwn="00000009-5eed-4000-8000-000000000000"
        )
    target = rtslib.Target(rtslib.FabricModule("iscsi"), TARGET_NAME, mode="lookup")
    try:
        for group in target.tpgs:
            lun = rtslib.LUN(group, NUMBER, disk)
            for host in fabric.host_names:
                access = rtslib.NodeACL(group, initiator_name(host), mode="lookup")
                rtslib.MappedLUN(access, NUMBER, lun)
        yield
    finally:
        disk.delete()


@contextmanager
def _offered_by_tgt(_fabric: Fabric) -> Iterator[None]:
    # sync: else a write ends in the page cache.
    _tgtadm("new", "-b", DEVICE, "--bsoflags", "sync")
    try:
        yield
    finally:
        _tgtadm("delete")


def _tgtadm(operation: str, *arguments: str) -> None:
    unit = ("--tid", "1", "--lun", str(NUMBER))
    _run("tgtadm", "--lld", "iscsi", "--mode", "logicalunit", "--op", operation, *unit, *arguments)
