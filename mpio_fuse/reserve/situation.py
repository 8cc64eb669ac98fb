"""What an open would find: the state that decides which way it takes through its figure."""

import attrs

from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.pr_in import Registrant, Reservation
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey

OUR_TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


@attrs.frozen
class UnderpathFact:
    """One underpath.  ``failure`` says why it does not answer; empty when it does.

    ``is_registered``: as far as this host remembers.  ``is_busy``: an old command is still under way there, so
    nothing is registered over it.  ``has_lost_write``: a write of an earlier time may be, so a barrier comes first.
    """

    name: str
    failure: str = ""
    is_busy: bool = False
    is_registered: bool = False
    has_lost_write: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether it will be registered."""
        return not self.failure and not self.is_busy


@attrs.frozen(kw_only=True)
class Situation:
    """One moment, read with PERSISTENT RESERVE IN alone.

    Args:
        underpaths: those that are not removed, in the device's order.
        reservation: None when nobody answers.
        keys: as READ KEYS gave them.
        registrants: as READ FULL STATUS gave them; None where the target does not have it.
        holder_name: the underpath over which we reserved, as far as this host remembers.
        opens: the options of the handles of this host, but for those known to be fenced.
        is_lost: what those relied on is not ours any more, so that they will be fenced before anything is sent.
        is_reserving: one of them relies on the reservation.
        unregisters_standby: a host that holds nothing takes its registrations back.
        has_persistent_reserve: False for a single path, where nothing of all this can be read.
    """

    lun: str
    key: ReservationKey
    underpaths: tuple[UnderpathFact, ...]
    reservation: Reservation | None
    keys: tuple[ReservationKey, ...] = ()
    registrants: tuple[Registrant, ...] | None = None
    holder_name: str | None = None
    opens: tuple[OpenOption, ...] = ()
    is_reserving: bool = False
    is_lost: bool = False
    unregisters_standby: bool = False
    has_persistent_reserve: bool = True

    @property
    def usable(self) -> tuple[UnderpathFact, ...]:
        return tuple(one for one in self.underpaths if one.is_usable)

    @property
    def standing(self) -> tuple[OpenOption, ...]:
        """The opens that will not be fenced."""
        return () if self.is_lost else self.opens

    @property
    def is_ours(self) -> bool:
        """Whether the reservation is our key's, of the one type that we make."""
        held = self.reservation
        return held is not None and held.holder == self.key and held.type is OUR_TYPE
