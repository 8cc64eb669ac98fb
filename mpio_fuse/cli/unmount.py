"""``mpio-fuse unmount``: end the daemon of a mountpoint, in order."""

from pathlib import Path

import click

from mpio_fuse.cli.printable import printable
from mpio_fuse.daemon import control, mountpoint
from mpio_fuse.errors import MpioError, UsageError


@click.command()
@click.argument("mountpoint_text", metavar="MOUNTPOINT")
@click.option("--lazy", is_flag=True, help="Detach it now; the daemon ends with the last close.")
@click.option("--force", is_flag=True, help="End now, whatever is open; its users get errors.")
def unmount(mountpoint_text: str, *, lazy: bool, force: bool) -> None:
    """Take MOUNTPOINT away: release, unregister, end its daemon.

    Returns once that is done.  Fails when a file is open, unless told otherwise.
    """
    if lazy and force:
        raise UsageError("--lazy and --force exclude each other")
    place = mountpoint.absolute(mountpoint_text)
    end = control.endpoint(place)
    if control.daemon_pid(end) is None:
        _clear(place, end)
        return
    how = "lazy" if lazy else "force" if force else "idle"
    reply = control.ask(end, {"request": "unmount", "how": how}, timeout_s=None)
    if reply["open"]:
        files = "file is" if reply["open"] == 1 else "files are"
        click.echo(f"detached; the daemon ends when {reply['open']} open {files} closed")
        return
    control.wait_until_gone(end)
    for one in reply.get("retained", []):
        _say(
            f"{place}: {one['lun']}: its reservation is retained, by {one['by']}; to give it back, "
            f"mount it again with key {one['key']} and 'mpio-fuse release {place / one['lun']}'"
        )
    if reply["problems"]:
        raise ExceptionGroup("unmounted", [MpioError(text) for text in reply["problems"]])


def _clear(place: Path, end: control.Endpoint) -> None:
    """Take away what a crashed daemon left.

    Raises:
        MpioError: there is nothing of ours.
    """
    was_dead = mountpoint.clear_dead(place)
    was_left = control.clear_leftovers(end)
    if not was_dead and not was_left:
        control.refuse_roots(end.base.name)
        hint = "'mpio-fuse status' shows what is"
        raise MpioError(f"{place}: not mounted by mpio-fuse", hint=hint)
    log = f"; its log is {end.log}" if end.log.exists() else ""
    _say(f"{place}: the daemon had crashed; cleared what it left{log}")
    _say(
        f"{place}: its registrations, and a reservation it had, stay at the array; "
        "to take them back, mount the same LUNs with the same key once more, "
        "'mpio-fuse release' those that status shows as kept, and any over a single path, and unmount"
    )


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
