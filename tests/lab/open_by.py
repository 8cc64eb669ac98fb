"""Open a LUN in one way with one set of options after another, and tell what came of each.

``python -m tests.lab.open_by WAY LUN NODE OPTIONS...`` prints a JSON list with, for each of OPTIONS:

``errno``     of the open, null when it worked
``holder``    while it was open, the key that the array says holds the reservation, read by sg_persist over NODE
``beside``    while it was open, the errno of another open of the LUN, null when that worked
``after``     the holder once it was closed and the daemon had done what it does then
``retained``  whether the daemon says so then
"""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpio_fuse import openx
from mpio_fuse.daemon import control
from mpio_fuse.fs.flags import FLAG_OPTIONS
from mpio_fuse.reserve.option_words import parse_options


def _by_flag(lun: Path, options: str) -> int:
    chosen = parse_options(options)
    flags = os.O_RDONLY
    for flag, option in FLAG_OPTIONS.items():
        flags |= flag if option in chosen else 0
    return os.open(lun, flags)


def _by_directory(lun: Path, options: str) -> int:
    if options == "default":
        return os.open(lun, os.O_RDONLY)
    return os.open(lun.parent / ".ext" / options / lun.name, os.O_RDONLY)


WAYS: dict[str, Callable[[Path, str], int]] = {
    "flag": _by_flag,
    "directory": _by_directory,
    "openx": lambda lun, options: openx(lun, os.O_RDONLY, options),
    "configured": lambda lun, _options: os.open(lun, os.O_RDONLY),
}


def _holder(node: str) -> str | None:
    # A unit attention, which tells of reservations taken away, is reported once, to whatever comes first.
    subprocess.run(["sg_turs", node], capture_output=True, check=False)
    command = ["sg_persist", "-n", "--in", "--read-reservation", node]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    key = re.search(r"Key=(\w+)", said)
    return key[1] if key else None


def _errno(fd: Callable[[], int]) -> str | None:
    try:
        os.close(fd())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def state_of(lun: Path) -> dict[str, Any]:
    """What the daemon says of its only LUN."""
    reply = control.ask(
        control.endpoint(lun.parent), {"request": "status"}, control.STATUS_TIMEOUT_S
    )
    (state,) = reply["status"]["luns"]
    return dict(state)


def is_settled(state: dict[str, Any]) -> bool:
    """Whether the daemon has seen the close, which the kernel tells it later, and has ended what it does then."""
    return not state["opens"] and (state["reservation"]["owner"] != "ours" or state["retained"])


def _open(way: str, lun: Path, node: str, options: str) -> dict[str, Any]:
    try:
        fd = WAYS[way](lun, options)
    except OSError as error:
        return {"errno": errno.errorcode[error.errno or 0], "after": _holder(node)}
    found: dict[str, Any] = {"errno": None}
    os.pread(fd, 4096, 0)
    found["holder"] = _holder(node)
    found["beside"] = _errno(lambda: os.open(lun, os.O_RDONLY | os.O_NONBLOCK))
    os.close(fd)
    while not is_settled(state := state_of(lun)):
        pass
    return found | {"after": _holder(node), "retained": state["retained"]}


def main(way: str, lun: str, node: str, *every_options: str) -> None:
    """See the module's docstring."""
    found = [_open(way, Path(lun), node, options) for options in every_options]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
