"""``mpio-fuse underpath``: what to do with one underpath of a served LUN."""

from typing import Any

import click

from mpio_fuse.daemon import control
from mpio_fuse.daemon.served_luns import require_served

TIMEOUT_S = 120.0
"""It waits for an open or a close of the LUN that is under way."""


@click.group()
def underpath() -> None:
    """Add, remove, fail or reinstate an underpath of a LUN that is served.

    LUN is its file name, its path or its WWID; DEVICE is /dev/sgN or iscsi://host[:port]/target-iqn/lun.
    """


@underpath.command()
@click.argument("lun", metavar="LUN")
@click.argument("device", metavar="DEVICE")
def add(lun: str, device: str) -> None:
    """Register DEVICE, another way to LUN, and use it."""
    _ask("add", lun, device)


@underpath.command()
@click.argument("lun", metavar="LUN")
@click.argument("device", metavar="DEVICE")
def remove(lun: str, device: str) -> None:
    """Stop using DEVICE and take its registration back; what it holds moves to another underpath first."""
    _ask("remove", lun, device)


@underpath.command()
@click.argument("lun", metavar="LUN")
@click.argument("device", metavar="DEVICE")
def fail(lun: str, device: str) -> None:
    """Stop using DEVICE until it is reinstated; what it holds moves to another underpath first."""
    _ask("fail", lun, device)


@underpath.command()
@click.argument("lun", metavar="LUN")
@click.argument("device", metavar="DEVICE")
def reinstate(lun: str, device: str) -> None:
    """Check DEVICE now and use it again, without waiting for its hold-down to end."""
    _ask("reinstate", lun, device)


def _ask(action: str, lun: str, device: str) -> dict[str, Any]:
    served = require_served(lun)
    request = {"request": "underpath", "action": action, "lun": served.wwid, "device": device}
    return control.ask(served.daemon, request, TIMEOUT_S)
