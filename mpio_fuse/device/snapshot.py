"""What `status` shows of a device: plain data, taken from memory, without a command or a wait."""

import attrs

from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.underpath import Counters, Underpath
from mpio_fuse.scsi.reservation_key import ReservationKey


@attrs.frozen
class UnderpathSnapshot:
    """One underpath, as it is known."""

    name: str
    state: str
    registered: bool
    is_holder: bool
    in_flight: int
    stranded: int
    counters: Counters
    last_failure: str


@attrs.frozen
class ReservationSnapshot:
    """What the array said last.  ``owner`` is ``none``, ``ours``, ``theirs`` or ``unknown`` (not read yet)."""

    owner: str
    holder: ReservationKey | None = None
    type: str = ""


@attrs.frozen
class DeviceSnapshot:
    """One pseudo device.  ``opens`` has the options of each handle, fenced ones marked so.

    ``retention`` is None unless our reservation is to outlive the last close.
    """

    name: str
    wwid: str
    size_bytes: int
    block_size_bytes: int
    key: ReservationKey
    reservation: ReservationSnapshot
    opens: tuple[str, ...]
    underpaths: tuple[UnderpathSnapshot, ...]
    retention: Retention | None = None


def reservation_snapshot(state: ReserveState | None, key: ReservationKey) -> ReservationSnapshot:
    """The reservation in words."""
    if state is None:
        return ReservationSnapshot("unknown")
    held = state.reservation
    if held.holder is None or held.type is None:
        return ReservationSnapshot("none")
    owner = "ours" if state.is_held_by(key) else "theirs"
    return ReservationSnapshot(owner, held.holder, held.type.title)


def underpath_snapshot(underpath: Underpath, *, is_holder: bool) -> UnderpathSnapshot:
    """One underpath in words and numbers; the counters are a copy."""
    return UnderpathSnapshot(
        name=underpath.name,
        state=underpath.state.value,
        registered=underpath.registered,
        is_holder=is_holder,
        in_flight=underpath.in_flight,
        stranded=underpath.transport.stranded,
        counters=attrs.evolve(underpath.counters),
        last_failure=underpath.last_failure,
    )
