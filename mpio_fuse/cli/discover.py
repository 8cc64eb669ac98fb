"""``mpio-fuse discover``: the LUNs of this host, their underpaths, and what they can do.

Nothing is changed anywhere: nodes are opened, asked and closed.  A disk in use is asked for its name only.
"""

import errno
import json

import click
import trio
from rich.console import Console

from mpio_fuse.cli.device_argument import named_devices
from mpio_fuse.cli.discover_json import as_document
from mpio_fuse.cli.discover_report import Report, look
from mpio_fuse.cli.discover_tree import as_trees
from mpio_fuse.device.discovered import Discovery
from mpio_fuse.errors import MpioError

WIDE = 1000
"""Columns where nobody looks: lines are never broken in a file or a pipe."""


@click.command()
@click.option("--json", "wants_json", is_flag=True, help="For programs; the keys are stable.")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1, callback=named_devices)
def discover(devices: tuple[str, ...], *, wants_json: bool) -> None:
    """Show LUNs, their underpaths, and what they can do.

    DEVICE is a node such as /dev/sg3, or iscsi://host[:port], which is all that is behind that portal, or
    iscsi://host[:port]/target/lun.  Without any, all SCSI disks of this host are looked at.
    """
    report = trio.run(look, devices)
    _require_permission(report.discovery)
    if wants_json:
        click.echo(json.dumps(as_document(report), indent=2))
    else:
        _print_trees(report)
    report.discovery.raise_for_named()


def _require_permission(found: Discovery) -> None:
    """A scan that was let in nowhere has failed, however many notes it made about it."""
    is_empty = not found.luns and not found.in_use
    errors = [refusal.error for refusal in found.refused]
    if is_empty and errors and all(error.errno in {errno.EACCES, errno.EPERM} for error in errors):
        first = errors[0]
        others = f" (nor {len(errors) - 1} others)" if len(errors) > 1 else ""
        raise MpioError(f"{first.what}{others}", underpath=first.underpath, hint=first.hint)


def _print_trees(report: Report) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=WIDE)
    for tree in as_trees(report):
        console.print(tree, soft_wrap=True)
