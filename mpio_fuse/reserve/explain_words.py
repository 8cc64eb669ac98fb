"""What an explanation is made of."""

import enum

import attrs

from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.procedure import Outcome
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.transport_id import TransportId


@attrs.frozen
class Sent:
    """One command of the story.  ``note``: what is special about it; ``is_answered``: whether the target hears it."""

    underpath: str
    action: enum.Enum
    words: str
    note: str = ""
    is_answered: bool = True


@attrs.frozen
class Step:
    """One box: its number in the figure (or a word, for what the figures leave out), and what comes of it."""

    box: str
    title: str
    commands: tuple[Sent, ...]
    outcome: Outcome


@attrs.frozen
class Removed:
    """A registration that would be gone.  ``transport_id`` None: the target does not tell whose it is."""

    key: ReservationKey
    is_holder: bool
    transport_id: TransportId | None = None


@attrs.frozen(kw_only=True)
class Explanation:
    """``errno`` None: the open succeeds.  ``figure`` is empty when it would not get as far as one."""

    options: OpenOption
    figure: str = ""
    steps: tuple[Step, ...] = ()
    errno: int | None = None
    reason: str = ""
    removed: tuple[Removed, ...] = ()
    notes: tuple[str, ...] = ()
