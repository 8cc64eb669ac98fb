"""Daemons that have ended without unmounting: killed, or crashed.

Nobody but their locks knows of them: a program that looks below the mountpoint gets ENOTCONN, and what the daemon had
at the array is there still.
"""

from collections.abc import Sequence

from mpio_fuse.daemon import control
from mpio_fuse.daemon.control import Endpoint, Owner
from mpio_fuse.errors import MpioError


def ended() -> list[Owner]:
    """All of them, in order of their files' names; raises as `control.endpoints`."""
    return [
        found for end in control.endpoints() if (found := control.owner(end)) and not found.lives
    ]


def error_of(found: Owner) -> MpioError:
    """What there is to say of one."""
    what = f"its daemon (process {found.pid}) has ended without unmounting"
    mountpoint = found.mountpoint or "a mountpoint"
    return MpioError(f"{mountpoint}: {what}", hint="mount it again or unmount it")


def refuse_ended(place: Endpoint) -> None:
    """Where no daemon lives.

    Raises:
        MpioError: one has ended there without unmounting.
    """
    found = control.owner(place)
    if found is not None and not found.lives:
        raise error_of(found)


def raise_of(crashed: Sequence[Owner]) -> None:
    """Raise for these, if there are any.

    Raises:
        MpioError, ExceptionGroup: there are.
    """
    errors = [error_of(one) for one in crashed]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("ended without unmounting", errors)
