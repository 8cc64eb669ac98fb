"""Which mountpoint the daemon with a given process ID serves: for messages about a disk that it has claimed."""

from mpio_fuse.daemon import control
from mpio_fuse.errors import MpioError

ANSWER_TIMEOUT_S = 1.0
"""It only makes a message better, so nobody waits long for it."""


def mountpoint_of(pid: int) -> str | None:
    """The mountpoint, by the daemons' files in the run directory; None when no daemon there has that ID, or tells."""
    try:
        place = next((one for one in control.endpoints() if control.daemon_pid(one) == pid), None)
        if place is None:
            return None
        reply = control.ask(place, {"request": "status"}, ANSWER_TIMEOUT_S)
        return str(reply["status"]["mountpoint"])
    except (MpioError, OSError, KeyError, TypeError):
        return None
