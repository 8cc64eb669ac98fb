"""``mpio-fuse status``: what the running daemons know, as a table for people or JSON for programs."""

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from mpio_fuse.cli.columns import columns
from mpio_fuse.cli.main import PROGRAM
from mpio_fuse.cli.printable import printable
from mpio_fuse.cli.sizes import size_text
from mpio_fuse.daemon import control
from mpio_fuse.daemon.control import Owner
from mpio_fuse.daemon.ended import ended, error_of, raise_of
from mpio_fuse.daemon.served_luns import is_lun_called, is_mountpoint_called, not_served

_WIDE = 1000
_OWNERS = {"none": "none", "ours": "ours", "unknown": "not read yet"}
_KEEPS_OTHERS_OUT = {
    True: "the reservation was seen to keep others out",
    False: "THE RESERVATION KEEPS NOBODY OUT",
    None: "whether the reservation keeps others out is not known",
}


@click.command()
@click.argument("name", metavar="[LUN|MOUNTPOINT]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def status(name: str | None, *, as_json: bool) -> None:
    """Show the daemons' LUNs, or one LUN or one daemon's: who has it, and by which underpaths.

    LUN is a file's name, its path, or a WWID.
    """
    daemons, crashed = _daemons(), ended()
    if name is not None:
        names = [lun["name"] for daemon in daemons for lun in daemon["luns"]]
        daemons = _only(daemons, name)
        crashed = [one for one in crashed if is_mountpoint_called(one.mountpoint, name)]
        if not daemons and not crashed:
            raise not_served(name, names)
    if not daemons and not crashed:
        control.refuse_roots()
        hint = "'mpio-fuse mount MOUNTPOINT' starts one"
        raise control.NotRunning("no daemon is running", hint=hint)
    _show(daemons, crashed, as_json=as_json)
    if not daemons:
        raise_of(crashed)
    for one in crashed:
        click.echo(printable(f"{PROGRAM}: warning: {error_of(one)}"), err=True)


def _show(daemons: list[dict[str, Any]], crashed: list[Owner], *, as_json: bool) -> None:
    if as_json:
        ends = [{"mountpoint": one.mountpoint, "pid": one.pid} for one in crashed]
        click.echo(json.dumps({"daemons": daemons, "ended": ends}, indent=2))
        return
    # Of a table that is too wide, the terminal breaks lines; rich would cut the device nodes' names.
    console = Console(width=_WIDE, highlight=False)
    for daemon in daemons:
        _show_daemon(console, daemon)


def _daemons() -> list[dict[str, Any]]:
    """Each living daemon's state."""
    living = [end for end in control.endpoints() if control.daemon_pid(end) is not None]
    found = []
    for end in living:
        try:
            reply = control.ask(end, {"request": "status"}, control.STATUS_TIMEOUT_S)
        except control.NotRunning:
            continue  # it is starting or ending right now
        found.append(reply["status"])
    return found


def _only(daemons: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """What is meant: a daemon, or LUNs of daemons."""
    matching = []
    for daemon in daemons:
        mountpoint = daemon["mountpoint"]
        if is_mountpoint_called(mountpoint, name):
            return [daemon]
        luns = [one for one in daemon["luns"] if is_lun_called(one, mountpoint, name)]
        if luns:
            matching.append({**daemon, "luns": luns, "left_out": [], "warnings": []})
    return matching


def _show_daemon(console: Console, daemon: dict[str, Any]) -> None:
    console.print(_line(f"{daemon['mountpoint']}  (pid {daemon['pid']}, key {daemon['key']})"))
    _show_log(console, daemon.get("log", {}))
    _show_instruments(console, daemon)
    for text in daemon.get("warnings", []):
        console.print(_line(f"  warning: {text}"))
    for lun in daemon["luns"]:
        _show_lun(console, lun)
    for text in daemon["left_out"]:
        console.print(_line(f"  left out: {text}"))


def _show_log(console: Console, log: dict[str, Any]) -> None:
    if log.get("problem"):
        since = _local_time(log["problem_since"])
        what = f"cannot be written since {since}: {log['problem']} ({log['records']} records)"
        console.print(_line(f"  log: {log['file'] or 'stderr'}: {what}", style="bold"))


def _show_instruments(console: Console, daemon: dict[str, Any]) -> None:
    if lab := daemon.get("lab"):
        console.print(_line("  LAB: commands can be made to fail", style="bold"))
        for one in lab["faults"]:
            struck = f"{one['state']}, has struck {one['struck']} of {one['seen']}"
            fault = f"{one['underpath']}: {one['fault']}"
            console.print(_line(f"    fault {one['number']}: {fault}  ({struck})"))
    if trace := daemon.get("trace"):
        problem = f", ended: {trace['problem']}" if trace["problem"] else ""
        console.print(_line(f"  trace: {trace['file']}, {trace['lines']} commands{problem}"))


def _show_lun(console: Console, lun: dict[str, Any]) -> None:
    title = f"  {lun['name']}  {size_text(lun['size_bytes'])}"
    if lun["wwid"] != lun["name"]:
        title += f"  {lun['wwid']}"
    console.print(_line(title, style="bold"))
    console.print(_line(f"    reservation: {_reservation(lun)}"))
    if single_path := lun.get("single_path"):
        keeps = _KEEPS_OTHERS_OUT[single_path["keeps_others_out"]]
        carrier = single_path["carrier"] or "no underpath"
        console.print(_line(f"    single path: {carrier} carries all, no failover; {keeps}"))
    console.print(_line(f"    opens: {_opens(lun)}"))
    console.print(_underpaths(lun))


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _reservation(lun: dict[str, Any]) -> str:
    reservation = lun["reservation"]
    owner = reservation["owner"]
    text = _OWNERS.get(owner, "another host's")
    if lun.get("single_path") and owner == "unknown":
        text = "cannot be read"
    if reservation["type"] and not reservation["holder"]:
        text += f" ({reservation['type']})"
    if lun["retained_from_before"]:
        text += " (kept from before this daemon started)"
    if reservation["holder"]:
        text += f", key {reservation['holder']}, {reservation['type']}"
    if lun["retained_since"] is not None:
        text += f", retained since {_local_time(lun['retained_since'])}"
    return f"{text}; FENCED" if lun["fenced"] else text


def _local_time(unix_time_s: float) -> str:
    return datetime.fromtimestamp(unix_time_s).astimezone().isoformat(" ", "seconds")


def _opens(lun: dict[str, Any]) -> str:
    opens = lun["opens"]
    return f"{len(opens)} ({', '.join(opens)})" if opens else "0"


def _underpaths(lun: dict[str, Any]) -> Text:
    underpaths = lun["underpaths"]
    counted = ("in flight", "reads", "read", "writes", "written", "failures")
    titles = ["    underpath", "state", "registered", *counted, "last failure"]
    rows = [_row(one) for one in underpaths]
    if lun.get("single_path"):  # nothing is registered there
        titles[2] = "used"
    if any(one["access"] for one in underpaths):  # no column for what most arrays do not have
        titles.insert(2, "access")
        for row, one in zip(rows, underpaths, strict=True):
            row.insert(2, one["access"] or "")
    return columns(titles, rows, right=counted)


def _state(one: dict[str, Any]) -> str:
    """The state, and why an underpath that works carries less than others, or nothing."""
    if one["failed_by_hand"]:
        return f"{one['state']}, by hand"
    if one["marginal"] and one["carries"] == "at need":
        return f"{one['state']}, marginal"
    return str(one["state"])


def _row(one: dict[str, Any]) -> list[str]:
    registered = "yes" if one["registered"] else "no"
    in_flight = str(one["in_flight"])
    return [
        f"    {one['device']}",
        _state(one),
        f"{registered}, holder" if one["holder"] else registered,
        f"{in_flight} (+{one['stranded']} lost)" if one["stranded"] else in_flight,
        str(one["reads"]),
        size_text(one["bytes_read"]),
        str(one["writes"]),
        size_text(one["bytes_written"]),
        str(one["failures"]),
        one["last_failure"] or "",
    ]
