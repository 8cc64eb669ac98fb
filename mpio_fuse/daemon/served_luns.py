"""Which running daemon of this host serves a LUN."""

from typing import Any

import attrs

from mpio_fuse.daemon import control
from mpio_fuse.daemon.control import Endpoint
from mpio_fuse.errors import MpioError


@attrs.frozen
class ServedLun:
    """A daemon, and what its status says of the LUN."""

    daemon: Endpoint
    mountpoint: str
    lun: dict[str, Any]

    @property
    def name(self) -> str:
        """Its file's name."""
        return str(self.lun["name"])

    @property
    def wwid(self) -> str:
        return str(self.lun["wwid"])


def find_served(name: str) -> ServedLun | None:
    """The LUN of that file name, alias or WWID; None when nobody serves it.

    Raises:
        MpioError: a daemon that lives does not answer, so nobody knows what it serves.
    """
    return next((one for one in all_served() if name in (one.lun["name"], one.lun["wwid"])), None)


def all_served() -> list[ServedLun]:
    """Every LUN of every daemon that answers; raises as `find_served`."""
    found = []
    for place in control.endpoints():
        if control.daemon_pid(place) is None:
            continue
        try:
            reply = control.ask(place, {"request": "status"}, control.STATUS_TIMEOUT_S)
        except control.NotRunning:
            continue  # it is starting or ending right now
        status = reply["status"]
        found += [ServedLun(place, status["mountpoint"], lun) for lun in status["luns"]]
    return found


def require_served(name: str) -> ServedLun:
    """As `find_served`.

    Raises:
        MpioError: nobody serves a LUN of that name, too.
    """
    served = all_served()
    for one in served:
        if name in (one.lun["name"], one.lun["wwid"]):
            return one
    names = ", ".join(sorted(one.name for one in served))
    hint = f"served: {names}" if names else "'mpio-fuse mount MOUNTPOINT' starts a daemon"
    raise MpioError(f"no daemon serves a LUN {name}", hint=hint)
