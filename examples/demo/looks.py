"""Looks at the state of things, for claims: at the daemons, the array, the kernel."""

import json
import time
from typing import Any

from attrs import frozen

from examples.demo.array_view import Registration, parse_full_status, told_lines
from examples.demo.stage import Stage
from tests.lab.fabric import FabricReport, Node
from tests.lab.job import Result

KEYS = {"a": 0xA1, "b": 0xB1}
EXIT_UNIT_ATTENTION = 6  # of the sg utilities
MAX_UNIT_ATTENTIONS = 8
RELEASE_LIMIT_S = 10.0
RETURN_LIMIT_S = 60.0
"""A check every few seconds finds an underpath that is back, and it is held down for ten before it carries data."""

POLL_S = 0.05


@frozen
class Hosts:
    """The nodes of hosts A and B."""

    a: tuple[Node, ...]
    b: tuple[Node, ...]

    @classmethod
    def of(cls, report: FabricReport) -> "Hosts":
        """Take them from a lab's report."""
        return cls(tuple(report.select("a")), tuple(report.select("b")))

    def nodes(self, host: str) -> list[str]:
        """Give the sg nodes of host "a" or "b"."""
        return sorted(node.sg for node in (self.a if host == "a" else self.b))

    def device_directory(self, sg: str) -> str:
        """Give the sysfs directory of the disk behind an sg node."""
        block = next(node.block for node in (*self.a, *self.b) if node.sg == sg)
        return f"/sys/block/{block.removeprefix('/dev/')}/device"


def underpaths(stage: Stage, mountpoint: str) -> dict[str, dict[str, Any]]:
    """Give what the daemon of ``mountpoint`` says about each of its underpaths, by device node."""
    daemons = json.loads(stage.ask("mpio-fuse status --json").stdout)["daemons"]
    luns = [lun for one in daemons if one["mountpoint"] == mountpoint for lun in one["luns"]]
    if len(luns) != 1:
        stage.fail(f"a daemon serves one LUN below {mountpoint}", daemons)
    return {one["device"]: one for one in luns[0]["underpaths"]}


def moved(before: dict[str, Any], after: dict[str, Any], counter: str) -> dict[str, int]:
    """Give by how much ``counter`` has grown on each underpath."""
    return {node: after[node][counter] - before[node][counter] for node in after}


def kernel_requests(stage: Stage, hosts: Hosts, host: str) -> dict[str, int]:
    """Give how many commands the kernel itself has sent down each node of ``host``."""
    nodes = hosts.nodes(host)
    files = " ".join(f"{hosts.device_directory(node)}/iorequest_cnt" for node in nodes)
    numbers = stage.ask(f"cat {files}").stdout.split()
    return {node: int(number, 16) for node, number in zip(nodes, numbers, strict=True)}


def take_unit_attentions(stage: Stage, node: str) -> None:
    """Have the array tell this nexus what others have changed, or it would as the answer to the next command."""
    for _ in range(MAX_UNIT_ATTENTIONS):
        if stage.ask(f"sg_turs {node}", may_exit=(0, EXIT_UNIT_ATTENTION)).status == 0:
            return


def _parsed(stage: Stage, result: Result) -> list[Registration]:
    try:
        return parse_full_status(result.stdout)
    except ValueError as error:
        stage.fail("sg_persist shows the array's registrations", error)


def registrations(stage: Stage, node: str) -> list[Registration]:
    """Give the array's own list of registrations, quietly."""
    take_unit_attentions(stage, node)
    return _parsed(stage, stage.ask(f"sg_persist --in --read-full-status {node}"))


def show_registrations(stage: Stage, host: str, node: str) -> list[Registration]:
    """Give the same list and show it."""
    take_unit_attentions(stage, node)
    command = f"sg_persist --in --read-full-status {node}"
    return _parsed(stage, stage.run(host, command, told_lines))


def holders(found: list[Registration]) -> list[tuple[int, str | None]]:
    """Give key and type of each holder of the reservation."""
    return [(one.key, one.reservation_type) for one in found if one.reservation_type]


def wait_released(stage: Stage, node: str) -> list[Registration]:
    """Wait until nobody holds the reservation, and give the registrations then (or at the limit).

    close(2) returns before FUSE has told the daemon about it.
    """
    deadline_s = time.monotonic() + RELEASE_LIMIT_S
    while holders(found := registrations(stage, node)) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return found


def wait_in_service(stage: Stage, mountpoint: str) -> dict[str, dict[str, Any]]:
    """Wait until every underpath is up, and give what is said of them then (or at the limit)."""
    deadline_s = time.monotonic() + RETURN_LIMIT_S
    while time.monotonic() < deadline_s:
        found = underpaths(stage, mountpoint)
        if {one["state"] for one in found.values()} == {"up"}:
            return found
        time.sleep(POLL_S)
    return underpaths(stage, mountpoint)


def sha256(result: Result) -> str:
    """Give the checksum that sha256sum printed."""
    return result.stdout.split()[0] if result.stdout.split() else "(none)"
