"""Figure 7: the reserve decision.  The caller's open options choose the procedure."""

import enum
from collections.abc import Callable

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve.fig08_forced_open import forced_open
from mpio_fuse.reserve.fig09_retain_reservation import retain_reservation
from mpio_fuse.reserve.fig10_no_reserve import no_reserve
from mpio_fuse.reserve.fig11_default_reserve import default_reserve
from mpio_fuse.reserve.procedure import Procedure


class OpenOption(enum.Flag):
    """The ``ext`` parameter of AIX's openx, as the patent lists it under Figure 7."""

    DEFAULT = 0
    NO_RESERVE = enum.auto()
    RETAIN_RESERVATION = enum.auto()
    SINGLE = enum.auto()
    FORCED_OPEN = enum.auto()

    def __str__(self) -> str:
        """As the documentation spells it: ``FORCED_OPEN+RETAIN_RESERVATION``, or ``DEFAULT``."""
        return "+".join(option.name or "" for option in OpenOption if option in self) or "DEFAULT"


def check_options(options: OpenOption) -> None:
    """Raise `UsageError` (EINVAL) for options that contradict each other."""
    if OpenOption.NO_RESERVE in options and options != OpenOption.NO_RESERVE:
        raise UsageError(
            f"{options}: NO_RESERVE goes with no other option", hint="drop one of them"
        )


def decide(options: OpenOption) -> Callable[[], Procedure]:
    """Which figure an open runs (710, 720, 740, 750; 722, 724, 726 when no option is set).

    Options add up.  FORCED_OPEN decides the figure before RETAIN_RESERVATION, which then only keeps the
    reservation beyond the close; SINGLE runs Figure 11 and is otherwise this host's own matter.
    """
    check_options(options)
    if OpenOption.FORCED_OPEN in options:
        return forced_open
    if OpenOption.RETAIN_RESERVATION in options:
        return retain_reservation
    if OpenOption.NO_RESERVE in options:
        return no_reserve
    return default_reserve
