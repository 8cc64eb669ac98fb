"""What `status` shows of a device: plain data, taken from memory, without a command or a wait."""

import attrs

from mpio_fuse.device.condition.state import Service
from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.selection.access import access_text
from mpio_fuse.device.selection.rules import Failback
from mpio_fuse.device.underpath import Counters, Underpath
from mpio_fuse.scsi.reservation_key import ReservationKey


@attrs.frozen
class UnderpathSnapshot:
    """One underpath, as it is known.

    ``is_held_out``: failed by an administrator.  ``access``: its target port's ALUA state in words, None when the array
    does not say.  ``carries``: data; ``yes``, ``at need`` (when no better one is left) or ``no``.
    """

    name: str
    state: str
    registered: bool
    is_holder: bool
    in_flight: int
    stranded: int
    counters: Counters
    last_failure: str
    is_marginal: bool = False
    is_held_out: bool = False
    access: str | None = None
    carries: str = "no"


@attrs.frozen
class SinglePathSnapshot:
    """SCSI-2 reservations over one underpath, the ``carrier``.

    ``keeps_others_out``: whether the reservation was seen to keep another nexus out; None: not known.
    """

    carrier: str | None
    keeps_others_out: bool | None = None


@attrs.frozen
class ReservationSnapshot:
    """What the array said last.  ``owner`` is ``none``, ``ours``, ``theirs`` or ``unknown`` (not read yet).

    ``single_path`` is None where there are persistent reservations.
    """

    owner: str
    holder: ReservationKey | None = None
    type: str = ""
    single_path: SinglePathSnapshot | None = None


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
    selector: str = ""
    failback: str = ""


def reservation_snapshot(state: ReserveState | None, key: ReservationKey) -> ReservationSnapshot:
    """The reservation in words."""
    if state is None:
        return ReservationSnapshot("unknown")
    held = state.reservation
    if held.holder is None or held.type is None:
        return ReservationSnapshot("none")
    owner = "ours" if state.is_held_by(key) else "theirs"
    return ReservationSnapshot(owner, held.holder, held.type.title)


def underpath_snapshot(
    underpath: Underpath, now_s: float, *, is_holder: bool, is_in_group_in_use: bool
) -> UnderpathSnapshot:
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
        is_marginal=underpath.health.is_marginal(now_s),
        is_held_out=underpath.health.is_held_out,
        access=access_text(underpath.access),
        carries=_carries(underpath, now_s, is_in_group_in_use=is_in_group_in_use),
    )


def _carries(underpath: Underpath, now_s: float, *, is_in_group_in_use: bool) -> str:
    if not underpath.is_usable or not underpath.may_carry:
        return "no"
    is_first = is_in_group_in_use and underpath.service(now_s) is Service.FULL
    return "yes" if is_first else "at need"


def failback_text(failback: Failback) -> str:
    """As it is configured."""
    if failback.after_s is None:
        return "manual"
    return f"{failback.after_s:g}" if failback.after_s else "immediate"
