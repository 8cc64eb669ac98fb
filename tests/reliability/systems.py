"""Runs in the guest: what joins host a's underpaths to one file, mpio-fuse or the kernel's dm-multipath."""

import re
import signal
import subprocess
import time
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mpio_fuse.daemon import control
from mpio_fuse.errors import MpioError
from tests.lab import sysfs
from tests.lab.fabric import Node
from tests.reliability.command import run, try_to_run, wait_for

MOUNTPOINT = Path("/tmp/reliability")  # noqa: S108 (the guest's own)
CONFIGURATION_FILE = Path("/tmp/reliability.toml")  # noqa: S108 (as above)
KEY = "0xa"
UDEVD = "/lib/systemd/systemd-udevd"


class SystemName(StrEnum):
    """As the command line has them."""

    MPIO_FUSE = "mpio-fuse"
    DM_MULTIPATH = "dm-multipath"


class System(Protocol):
    """Something that is started on nodes and then has one file for all of them."""

    def start(self, nodes: Iterable[Node]) -> str:
        """Join the nodes, all of one LUN; the file's name."""
        ...

    def in_service(self) -> dict[str, bool]:
        """For each underpath known, whether it carries I/O.  Does not wait for any of them."""
        ...

    def said(self) -> list[str]:
        """What it has to say, line by line: its log, where that matters."""
        ...

    def stop(self) -> None:
        """Let go of the nodes."""
        ...


class MpioFuse:
    """The project's daemon, with the configuration's defaults but for what ``configuration`` says.

    ``option`` is that of the opens: ``"no-reserve"``, or nothing.
    """

    def __init__(self, option: str = "", configuration: str = "") -> None:
        self._option = option
        self._configuration = configuration

    def start(self, nodes: Iterable[Node]) -> str:
        MOUNTPOINT.mkdir(exist_ok=True)
        CONFIGURATION_FILE.write_text(self._configuration)
        configured = ["--config", str(CONFIGURATION_FILE), "--key", KEY]
        run("mpio-fuse", "mount", str(MOUNTPOINT), *configured, *(node.sg for node in nodes))
        (name,) = (entry.name for entry in MOUNTPOINT.iterdir())
        directory = MOUNTPOINT / ".ext" / self._option if self._option else MOUNTPOINT
        return str(directory / name)

    def in_service(self) -> dict[str, bool]:
        place = control.endpoint(MOUNTPOINT)
        reply = control.ask(place, {"request": "status"}, control.STATUS_TIMEOUT_S)
        (lun,) = reply["status"]["luns"]
        return {
            one["device"]: one["state"] == "up" and one["registered"] for one in lun["underpaths"]
        }

    def said(self) -> list[str]:
        return control.endpoint(MOUNTPOINT).log.read_text().splitlines()

    def stop(self) -> None:
        try:
            run("mpio-fuse", "unmount", str(MOUNTPOINT))
        finally:
            self._kill()

    @staticmethod
    def _kill() -> None:
        pid = control.daemon_pid(control.endpoint(MOUNTPOINT))
        if pid is not None:
            try_to_run("kill", "-KILL", str(pid))
            try_to_run("fusermount3", "-uz", str(MOUNTPOINT))


class DmMultipath:
    """multipathd, which needs udev to tell it of disks; both run only while this does.

    As like ours as it can be set: all underpaths share the load, without any of them requests wait for a minute, and
    the kernel gives a lost iSCSI session up after 5 s (``fast_io_fail_tmo``; it is the default).
    """

    CONFIGURATION = """\
defaults {{
    user_friendly_names no
    find_multipaths no
    path_grouping_policy multibus
    polling_interval 5
    no_path_retry 12
    fast_io_fail_tmo 5
}}
blacklist {{
    wwid ".*"
}}
blacklist_exceptions {{
    wwid "{wwid}"
}}
"""
    MODULES = ("dm-mod", "dm-multipath", "dm-round-robin", "dm-service-time", "dm-queue-length")
    LOG = Path("/run/reliability-multipathd.log")
    START_LIMIT_S = 20.0

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._wwid = ""

    def start(self, nodes: Iterable[Node]) -> str:
        sysfs.load(*self.MODULES)
        self._spawn(UDEVD)
        wait_for(lambda: Path("/run/udev/control").exists(), self.START_LIMIT_S, "udevd")
        run("udevadm", "trigger", "--action=add", "--subsystem-match=block")
        run("udevadm", "settle", "--timeout=20")
        self._wwid = _identity(next(iter(nodes)))
        Path("/etc/multipath.conf").write_text(self.CONFIGURATION.format(wwid=self._wwid))
        self._spawn("multipathd", "-d", "-s")
        file = Path("/dev/mapper") / self._wwid
        wait_for(file.exists, self.START_LIMIT_S, f"multipathd to make {file}")
        return str(file)

    def _spawn(self, *command: str) -> None:
        with self.LOG.open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def in_service(self) -> dict[str, bool]:
        status = run("dmsetup", "status", self._wwid)
        return {
            f"/dev/{_block_name(device)}": state == "A"
            for device, state in re.findall(r"(\d+:\d+) ([AF]) ", status)
        }

    def said(self) -> list[str]:
        return self.LOG.read_text().splitlines()

    def stop(self) -> None:
        try:
            try_to_run("dmsetup", "message", self._wwid, "0", "fail_if_no_path")
            *others, multipathd = self._processes
            _end(multipathd)
            wait_for(self._removed, self.START_LIMIT_S, f"{self._wwid} to be closed by all")
            for other in others:
                _end(other)
        finally:
            for process in self._processes:
                process.kill()
            self._processes.clear()
            self.LOG.unlink(missing_ok=True)

    def _removed(self) -> bool:
        return try_to_run("dmsetup", "remove", "--noudevsync", "--retry", self._wwid)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def _identity(node: Node) -> str:
    """The LUN's identity as udev and multipath-tools have it."""
    return run(
        "udevadm", "info", "--query=property", "--property=ID_SERIAL", "--value", node.block
    ).strip()


def _block_name(device: str) -> str:
    link = Path(f"/sys/dev/block/{device}")
    return link.resolve().name if link.exists() else device


def make_system(name: SystemName, option: str, configuration: str) -> System:
    """The system of that name; the rest is for ours."""
    return MpioFuse(option, configuration) if name is SystemName.MPIO_FUSE else DmMultipath()


def wait_until_all_in_service(system: System, count: int, limit_s: float) -> float | None:
    """Until ``count`` underpaths carry I/O, and no other is known: how long that took; None: not within the limit."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < limit_s:
        try:
            states = system.in_service()
        except MpioError:
            states = {}
        if len(states) == count and all(states.values()):
            return time.monotonic() - began_s
        time.sleep(0.2)
    return None
