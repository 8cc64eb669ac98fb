"""``mpio-fuse fault``: make the commands of a mounted lab fail, and let them be again."""

import json
from typing import Any

import click

from mpio_fuse.cli.columns import columns
from mpio_fuse.cli.fault_argument import named_faults
from mpio_fuse.daemon import control, mountpoint
from mpio_fuse.daemon.ended import refuse_ended


@click.group()
def fault() -> None:
    """Faults of a mount that was made with --lab (docs/faults.md)."""


@fault.command("add")
@click.argument("mountpoint_text", metavar="MOUNTPOINT")
@click.argument("faults", metavar="'UNDERPATH: FAULT'...", nargs=-1, required=True)
def add(mountpoint_text: str, faults: tuple[str, ...]) -> None:
    """Set faults, and print their numbers. @FILE has one a line."""
    for spec in named_faults(faults):  # all are understood before the first is set
        click.echo(_ask(mountpoint_text, action="add", fault=spec.line)["number"])


@fault.command("clear")
@click.argument("mountpoint_text", metavar="MOUNTPOINT")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=1))
def clear(mountpoint_text: str, numbers: tuple[int, ...]) -> None:
    """Lift the faults of these NUMBERs, or all. What hangs goes on."""
    _ask(mountpoint_text, action="clear", numbers=list(numbers) or None)


@fault.command("list")
@click.argument("mountpoint_text", metavar="MOUNTPOINT")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def list_(mountpoint_text: str, *, as_json: bool) -> None:
    """Show the faults, and how many commands each has struck."""
    faults = _ask(mountpoint_text, action="list")["faults"]
    if as_json:
        click.echo(json.dumps({"faults": faults}, indent=2))
        return
    counted = ("number", "seen", "struck")
    rows = [
        (str(one["number"]), one["state"], str(one["seen"]), str(one["struck"]), _line(one))
        for one in faults
    ]
    click.echo(columns(("number", "state", "seen", "struck", "fault"), rows, right=counted).plain)


def _line(one: dict[str, Any]) -> str:
    return f"{one['underpath']}: {one['fault']}"


def _ask(mountpoint_text: str, **request: object) -> dict[str, Any]:
    """Send a request to the daemon of that mountpoint.

    Raises:
        NotRunning: there is none.
        MpioError: it refused.
    """
    place = mountpoint.absolute(mountpoint_text)
    end = control.endpoint(place)
    if control.daemon_pid(end) is None:
        refuse_ended(end)
        control.refuse_roots(end.base.name)
        hint = "'mpio-fuse status' shows what is"
        raise control.NotRunning(f"{place}: not mounted by mpio-fuse", hint=hint)
    return control.ask(end, {"request": "fault", **request}, control.STATUS_TIMEOUT_S)
