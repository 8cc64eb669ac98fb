"""``mpio-fuse explain``: what an open would do now, without doing it.

Sends nothing but PERSISTENT RESERVE IN (and INQUIRY, over nodes that are named).  A LUN that a daemon serves is
looked at through it: only it knows what is open here, and what its unit attentions mean.
"""

import json
from typing import Any

import click
import trio

from mpio_fuse.cli.device_argument import named_devices
from mpio_fuse.cli.explain_text import show
from mpio_fuse.cli.persist import (
    COMMAND_TIMEOUT_S,
    DAEMON_TIMEOUT_S,
    host_key,
    open_lun,
    tell_attention,
)
from mpio_fuse.daemon import control
from mpio_fuse.daemon.explanation import explanation_document
from mpio_fuse.daemon.served_luns import ServedLun, find_served, require_served
from mpio_fuse.device.situation import read_situation
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.reserve.explain import explain as explain_open
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.option_words import parse_options, spell_options
from mpio_fuse.scsi.reservation_key import ReservationKey


@click.command()
@click.argument("option", metavar="OPTION")
@click.argument("lun", metavar="[LUN]", required=False)
@click.option(
    "--device", "devices", metavar="DEVICE", multiple=True, callback=named_devices,
    help="Instead of LUN: a node of a LUN that no daemon serves; once for each underpath.",
)  # fmt: skip
@click.option(
    "--key", "key_text", metavar="KEY",
    help="With --device: the key of the host that opens; this host's unless given.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys are stable.")
def explain(
    option: str, lun: str | None, devices: tuple[str, ...], key_text: str | None, *, as_json: bool
) -> None:
    """Tell what an open with OPTION would send now, and what it would answer.

    OPTION is default, no-reserve, retain, single or forced, or several joined by '+'. LUN is the file name, path
    or WWID of a LUN that a daemon serves. Nothing is changed.
    """
    options = parse_options(option)
    if (lun is None) == (not devices):
        raise UsageError("name a LUN that a daemon serves, or its nodes with --device")
    if lun is not None:
        if key_text is not None:
            raise UsageError("--key goes with --device: a daemon has its own key")
        document = _ask_daemon(require_served(lun), options)
    else:
        document = trio.run(_look, options, devices, key_text)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        show(document)


def _ask_daemon(served: ServedLun, options: OpenOption) -> dict[str, Any]:
    request = {"request": "explain", "lun": served.wwid, "options": spell_options(options)}
    return dict(control.ask(served.daemon, request, DAEMON_TIMEOUT_S)["explain"])


async def _look(
    options: OpenOption, devices: tuple[str, ...], key_text: str | None
) -> dict[str, Any]:
    key = ReservationKey.parse_host(key_text) if key_text else host_key()
    async with open_lun(devices) as lun:
        served = find_served(lun.wwid)
        if served is not None:
            raise MpioError(
                f"served by the daemon of {served.mountpoint}, which knows more",
                hint=f"'mpio-fuse explain {spell_options(options)} {served.path}' asks it",
            )
        situation = await read_situation(
            lun.wwid, key, lun.underpaths, COMMAND_TIMEOUT_S, tell_attention
        )
        return explanation_document(explain_open(options, situation), situation)
