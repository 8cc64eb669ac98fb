"""Which running daemon of this host serves a LUN.

Whoever asks names the LUN by its file's name, by its WWID, or by a path below a mountpoint, which only has to be the
path of a file there: it is not looked at, as the daemon may hang.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mpio_fuse.daemon import control
from mpio_fuse.daemon.control import Endpoint
from mpio_fuse.daemon.ended import ended, error_of
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

    @property
    def path(self) -> str:
        """Its file."""
        return str(Path(self.mountpoint, self.name))

    def is_called(self, name: str) -> bool:
        """Whether somebody who says ``name`` means it."""
        return is_lun_called(self.lun, self.mountpoint, name)


def is_lun_called(lun: Mapping[str, Any], mountpoint: str, name: str) -> bool:
    """Whether ``name`` means this LUN, as a daemon's status has it."""
    if "/" not in name:
        return name in (lun["name"], lun["wwid"])
    file = _absolute(name)
    options = file.parent.parent
    root = options.parent if options.name == ".ext" else file.parent
    return file.name == lun["name"] and _leads_to(root, mountpoint)


def is_mountpoint_called(mountpoint: str, name: str) -> bool:
    """Whether ``name`` is a path to the mountpoint."""
    return "/" in name and _leads_to(_absolute(name), mountpoint)


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would look at what is there


def _leads_to(place: Path, mountpoint: str) -> bool:
    """Symbolic links are followed only if they must be."""
    return str(place) == mountpoint or os.path.realpath(place) == mountpoint


def find_served(name: str) -> ServedLun | None:
    """The LUN of that file name, alias, WWID or path; None when nobody serves it.

    Raises:
        MpioError: a daemon that lives does not answer, so nobody knows what it serves.
    """
    return next((one for one in all_served() if one.is_called(name)), None)


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
        MpioError: nobody serves a LUN of that name, or several daemons do, too.
    """
    served = all_served()
    meant = [one for one in served if one.is_called(name)]
    if not meant:
        raise not_served(name, [one.name for one in served])
    if len(meant) > 1:
        where = " and ".join(sorted(one.mountpoint for one in meant))
        hint = f"say which by its path, as {min(one.path for one in meant)}"
        raise MpioError(f"served at {where}", lun=name, hint=hint)
    return meant[0]


def not_served(name: str, names: Sequence[str]) -> MpioError:
    """The error that says so; ``names`` are those of the LUNs that are served.

    Raises:
        MpioError: none is, but there is a daemon of root's, which we may not ask.
    """
    if names:
        hint = f"served: {', '.join(sorted(set(names)))}"
    elif crashed := ended():
        hint = str(error_of(crashed[0]))
    else:
        control.refuse_roots()
        hint = "'mpio-fuse mount MOUNTPOINT' starts a daemon"
    return MpioError(f"no daemon serves a LUN {name}", hint=hint)
