"""``mpio-fuse persist``: persistent reservations by hand, for people used to sg_persist and mpathpersist.

A LUN that a running daemon of this host serves is the daemon's business.  Reading goes through it, because an answer
over its nexuses can be a unit attention that only it knows what to do about.  Changing is refused unless forced: it
would take the disk from under the daemon's programs.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import click
import trio

from mpio_fuse.cli.device_argument import named_devices
from mpio_fuse.cli.main import PROGRAM
from mpio_fuse.cli.persist_options import CHANGES, OPTIONS, READS
from mpio_fuse.cli.persist_text import show
from mpio_fuse.cli.printable import printable
from mpio_fuse.daemon import config, control
from mpio_fuse.daemon.reserve_reading import Document, read, state_document
from mpio_fuse.daemon.served_luns import ServedLun, find_served
from mpio_fuse.device.key import read_host_key
from mpio_fuse.device.named_lun import NamedLun, named_lun
from mpio_fuse.device.openers import open_device
from mpio_fuse.device.persist import Persist, Request
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.verdict import Verdict

COMMAND_TIMEOUT_S = 20.0
"""For one command; PREEMPT AND ABORT waits for the victim's."""

DAEMON_TIMEOUT_S = 60.0
OPEN = open_device
"""How nodes are opened."""


@click.group()
def persist() -> None:
    """Persistent reservations by hand, over DEVICE... of one LUN.

    Registering goes over every DEVICE, all else over the first that the target takes it from.
    """


def host_key() -> ReservationKey:
    """Give this host's key, as mount would have it."""
    return config.load(None).key or read_host_key()


def open_lun(devices: Sequence[str]) -> Any:  # noqa: ANN401 - a context manager of NamedLun
    """The LUN behind the nodes."""
    return named_lun(devices, open_transport=OPEN)


# -- reading


def _reading(action: str, text: str) -> click.Command:
    def run(devices: tuple[str, ...], *, as_json: bool) -> None:
        _print(trio.run(_read, action, devices), as_json=as_json)

    return _command(action, text, run, ("json",))


async def _read(action: str, devices: Sequence[str]) -> Document:
    async with open_lun(devices) as lun:
        served = find_served(lun.wwid)
        if served is not None:
            return {"lun": lun.wwid, **_ask_daemon(served, action)}
        return {"lun": lun.wwid, **await read(_persist(lun).reader, action)}


def _ask_daemon(served: ServedLun, action: str) -> Document:
    request = {"request": "persist", "lun": served.wwid, "action": action}
    reply = control.ask(served.daemon, request, DAEMON_TIMEOUT_S)
    return dict(reply["persist"])


# -- changing


@attrs.frozen
class _Change:
    """One changing action with the keys that its caller left out."""

    action: PrOut
    takes: tuple[str, ...]

    def request(self, options: dict[str, Any]) -> Request:
        """What click has parsed, with this host's key where none was given."""
        given = {name: value for name, value in options.items() if value is not None}
        if "kind" in given:
            given["type"] = given.pop("kind")
        if "key" in self.takes and "key" not in given:
            given["key"] = host_key()
        if "new_key" in self.takes and "new_key" not in given:
            given["new_key"] = host_key()
        return Request(action=self.action, **given)


def _changing(name: str, change: _Change, text: str) -> click.Command:
    def run(devices: tuple[str, ...], *, as_json: bool, force: bool, **options: object) -> None:
        request = change.request(options)
        _print(trio.run(_perform, name, request, devices, force), as_json=as_json)

    return _command(name, text, run, (*change.takes, "force", "json"))


async def _perform(name: str, request: Request, devices: Sequence[str], force: bool) -> Document:  # noqa: FBT001
    async with open_lun(devices) as lun:
        if not force:
            _refuse_served(name, lun)
        persist = _persist(lun)
        done = await persist.perform(request)
        state = await persist.reader.state()
        return {"lun": lun.wwid, "action": name, "underpaths": done, **state_document(state)}


def _refuse_served(action: str, lun: NamedLun) -> None:
    served = find_served(lun.wwid)
    if served is None:
        return
    hint = "unmount it first, or --force"
    if action == "release":
        hint = f"'{PROGRAM} release {served.path}' gives back what it has retained; or --force"
    raise MpioError(
        f"served by the daemon of {served.mountpoint}: {action} could take the disk from its programs",
        lun=served.name,
        hint=hint,
    )


# -- both


def _command(name: str, text: str, run: Callable[..., None], takes: Sequence[str]) -> click.Command:
    """A click command with those options and DEVICE..."""
    run = click.argument(
        "devices", metavar="DEVICE...", nargs=-1, required=True, callback=named_devices
    )(run)
    for option in reversed(takes):
        run = OPTIONS[option](run)
    return click.command(name, help=text)(run)


def _persist(lun: NamedLun) -> Persist:
    return Persist(lun.wwid, lun.underpaths, COMMAND_TIMEOUT_S, tell_attention)


def tell_attention(underpath: Underpath, _verdict: Verdict, text: str) -> None:
    """The target tells it once only, and it was told us."""
    note = f"{PROGRAM}: note: {underpath.name}: told now, and not again: {text}"
    click.echo(printable(note), err=True)


def _print(document: Document, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        show(document)


for _name, _text in READS.items():
    persist.add_command(_reading(_name, _text))
for _name, (_action, _text, _takes) in CHANGES.items():
    persist.add_command(_changing(_name, _Change(_action, _takes), _text))
