"""The error of an open, or a release, that the array did not allow: who has the disk, or what each underpath said."""

from collections.abc import Iterable

from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.snapshot import reservation_snapshot
from mpio_fuse.device.underpath import Underpath, failures_of
from mpio_fuse.errors import OpenRefused
from mpio_fuse.reserve.procedure import ERRNOS, End
from mpio_fuse.scsi.reservation_key import ReservationKey


def refusal(
    lun: str,
    key: ReservationKey,
    underpaths: Iterable[Underpath],
    end: End,
    request: str,
    state: ReserveState | None,
) -> OpenRefused:
    """With the errno of that end, and one line."""
    reservation = reservation_snapshot(state, key)
    if reservation.owner == "theirs":
        what = f"reserved by key {reservation.holder} ({reservation.type})"
        hint = "close it on that host, or take it over with a forced open"
    else:
        what = f"{request} refused ({failures_of(underpaths) or 'by the array'})"
        hint = "see 'mpio-fuse status' for its underpaths"
    return OpenRefused(what, ERRNOS[end], lun=lun, hint=hint)
