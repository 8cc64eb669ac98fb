"""Runs in the guest: faults of one underpath, how they strike and how they are lifted.

A fault strikes the first underpath of host a, over which, as a rule, the reservation has been made; see `Place`.
Lifting one puts everything back as it was, as far as the kernel lets us: a deleted node comes back under any name.
"""

import contextlib
import ctypes
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs

from tests.lab import sysfs
from tests.lab.fabric import TARGET_NAME, Fabric, Node
from tests.lab.initiator import PORT
from tests.lab.lio import CONFIGFS
from tests.reliability.command import run, wait_for

BACK_LIMIT_S = 20.0
TARGETS = CONFIGFS / "target"


@attrs.frozen
class Place:
    """Where a fault strikes.

    ``now`` finds host a's nodes to the LUN as they are at the moment.
    """

    fabric: Fabric
    struck: Node
    spared: Node
    now: Callable[[], list[Node]]


class Fault(Protocol):
    """Something that can be done to a lab, and undone."""

    def strike(self) -> None: ...
    def lift(self) -> None: ...


@attrs.frozen
class Switch:
    """A fault that is a file of the kernel's: one text makes it, another lifts it."""

    file: Path
    bad: str
    good: str

    def strike(self) -> None:
        self.file.write_text(self.bad + "\n")

    def lift(self) -> None:
        self.file.write_text(self.good + "\n")


class Nothing:
    """No fault: how long an operation takes at most when all is well."""

    def strike(self) -> None: ...
    def lift(self) -> None: ...


def device_offline(node: Node) -> Fault:
    return Switch(_device(node) / "state", "offline", "running")


def portal_group_disabled(node: Node) -> Fault:
    """The target takes no more connections there and ends those it has."""
    group = f"tpgt_{node.underpath + 1}"
    return Switch(TARGETS / "iscsi" / TARGET_NAME / group / "enable", "0", "1")


def loop_transport_offline(node: Node) -> Fault:
    group = TARGETS / "loopback" / f"naa.5001405{node.underpath:09x}" / "tpgt_1"
    return Switch(group / "transport_status", "offline", "online")


@attrs.frozen
class NodeDeleted:
    """As an administrator, or an HBA's driver, takes a disk away; a rescan finds it again."""

    place: Place

    def strike(self) -> None:
        (_device(self.place.struck) / "delete").write_text("1\n")

    def lift(self) -> None:
        host, channel, target, lun = self.place.struck.hctl.split(":")
        scan = Path(f"/sys/class/scsi_host/host{host}/scan")
        scan.write_text(f"{channel} {target} {lun}")
        _wait_for_all(self.place)


@attrs.frozen
class LoggedOut:
    """The session is ended, which takes its nodes away; a new login makes new ones."""

    place: Place

    def strike(self) -> None:
        run("iscsiadm", "-m", "session", "-r", session_number(self.place.struck), "--logout")

    def lift(self) -> None:
        node = self.place.struck
        record = ("-T", TARGET_NAME, "-p", node.portal, "-I", node.host)
        run("iscsiadm", "-m", "node", *record, "--login")
        _wait_for_all(self.place)


@attrs.frozen
class ConnectionKilled:
    """The session's TCP connection is shut under iscsid's hands, which makes another one."""

    place: Place

    def strike(self) -> None:
        address, port = self.place.struck.portal.rsplit(":", 1)
        pid = int(Path("/run/iscsid.pid").read_text())
        if not _shut_connections(pid, (address, int(port))):
            raise LookupError(f"iscsid has no connection to {self.place.struck.portal}")

    def lift(self) -> None: ...


@attrs.frozen
class PortalBlocked:
    """A black hole: what is sent to the portal, and what it sends, is lost without a word.

    A queue of its own on the loopback interface takes the portal's packets, and netem there loses them all.
    """

    node: Node

    def strike(self) -> None:
        sysfs.load("sch_netem", "sch_prio", "cls_u32")
        address = self.node.portal.rsplit(":", 1)[0]
        _tc("qdisc", "add", "dev", "lo", "root", "handle", "1:", "prio", "bands", "4",
            "priomap", *["0"] * 16)  # fmt: skip
        _tc("qdisc", "add", "dev", "lo", "parent", "1:4", "handle", "40:", "netem", "loss", "100%")
        for end, port in (("dst", "dport"), ("src", "sport")):
            _tc("filter", "add", "dev", "lo", "parent", "1:", "protocol", "ip", "prio", "1", "u32",
                "match", "ip", end, f"{address}/32", "match", "ip", port, str(PORT), "0xffff",
                "flowid", "1:4")  # fmt: skip

    def lift(self) -> None:
        _tc("qdisc", "del", "dev", "lo", "root")


@attrs.frozen
class LunReset:
    """LOGICAL UNIT RESET, by somebody who is not the system."""

    node: Node

    def strike(self) -> None:
        run("sg_reset", "--device", "--no-esc", self.node.sg)

    def lift(self) -> None: ...


def session_number(node: Node) -> str:
    """The number of the iSCSI session that a node hangs off."""
    (disk,) = (disk for disk in sysfs.disks() if disk.hctl == node.hctl)
    return str(disk.ancestor_number("session"))


def _device(node: Node) -> Path:
    return Path(f"/sys/bus/scsi/devices/{node.hctl}")


def _wait_for_all(place: Place) -> None:
    count = place.fabric.underpaths
    wait_for(lambda: len(place.now()) == count, BACK_LIMIT_S, f"{count} nodes of host a")


def _tc(*words: str) -> None:
    run("tc", *words)


PIDFD_GETFD = 438
"""The system call, of all architectures; Python has no name for it."""


def _shut_connections(pid: int, peer: tuple[str, int]) -> int:
    """Shut that process's TCP connections to ``peer``; how many it had."""
    library = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    shut = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if not str(entry.readlink()).startswith("socket:"):
            continue
        fd = library.syscall(PIDFD_GETFD, process, int(entry.name), 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        with socket.socket(fileno=fd) as connection, contextlib.suppress(OSError):
            if connection.getpeername() == peer:
                connection.shutdown(socket.SHUT_RDWR)
                shut += 1
    os.close(process)
    return shut
