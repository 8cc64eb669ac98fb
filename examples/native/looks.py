"""Looks at the state of things, for claims: at the array, its medium and the daemons."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from attrs import define

from examples.demo.stage import Stage
from tests.lab.job import Result
from tests.native.site import KEYS, Site

TYPE = "Exclusive Access, registrants only"
LIMIT_S = 30.0
POLL_S = 0.05


@define
class Story:
    """The stage, what stands on it, and what later chapters need of earlier ones."""

    stage: Stage
    site: Site
    image_sum: str = ""
    lun_sum: str = ""


def daemon(stage: Stage, host: str) -> dict[str, Any]:
    """Give what a host's daemon says about its one LUN."""
    [found] = json.loads(stage.ask("mpio-fuse status --json", host=host).stdout)["daemons"]
    [lun] = found["luns"]
    return dict(lun)


def underpaths(stage: Stage, host: str) -> dict[str, dict[str, Any]]:
    """Give what it says about each underpath, by URL."""
    return {one["device"]: one for one in daemon(stage, host)["underpaths"]}


def moved(before: dict[str, Any], after: dict[str, Any], counter: str) -> dict[str, int]:
    """Give by how much ``counter`` has grown on each underpath."""
    return {url: after[url][counter] - before[url][counter] for url in after}


def of_persist(result: Result) -> dict[int, int]:
    """Give how many nexuses are registered with each key, as ``persist read-keys`` prints it."""
    found = re.findall(r"^(0x[0-9a-f]{16}) +(\d+)$", result.stdout, re.MULTILINE)
    return {int(key, 16): int(count) for key, count in found}


def holder(result: Result) -> tuple[int, str] | None:
    """Give key and type of the reservation, as ``persist read-reservation`` prints it; None: there is none."""
    found = re.search(
        r"^reservation: key (0x[0-9a-f]{16}), type 6, (.+)$", result.stdout, re.MULTILINE
    )
    return (int(found[1], 16), found[2]) if found else None


def held_by(host: str) -> tuple[int, str]:
    """What `holder` gives when ``host`` has it."""
    return KEYS[host], TYPE


def wait_for(stage: Stage, text: str, condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of; that it comes is a claim of its own."""
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            stage.fail(text, f"nothing of it for {LIMIT_S:g} s")
        time.sleep(POLL_S)


def wait_released(stage: Stage) -> None:
    """Wait until nobody holds the reservation: close(2) returns before FUSE has told the daemon about it."""
    look = "mpio-fuse persist read-reservation $ARRAY"
    wait_for(stage, "the last close releases", lambda: holder(stage.ask(look)) is None)


def sha256(result: Result) -> str:
    """Give the checksum that sha256sum printed."""
    return result.stdout.split()[0] if result.stdout.split() else "(none)"
