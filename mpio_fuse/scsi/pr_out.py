"""PERSISTENT RESERVE OUT (SPC-4 6.16): registering, reserving, and taking both away.

Byte 1 of the CDB has the service action, byte 2 scope and type.  The parameter list is 24 bytes: the
RESERVATION KEY by which this nexus is registered, the SERVICE ACTION RESERVATION KEY that the action is about, and
in byte 20 SPEC_I_PT, ALL_TG_PT and APTPL.  REGISTER AND MOVE has a list of its own.

None of these may be repeated blindly when its answer was lost: it may have worked the first time, and PREEMPT
repeated then conflicts.  Read the state first.
"""

from collections.abc import Sequence

from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.transport_id import TransportId
from mpio_fuse.scsi.wire import uint_bytes

SPEC_I_PT = 0x08
ALL_TG_PT = 0x04
APTPL = 0x01

MOVE_UNREG = 0x02
MOVE_APTPL = 0x01


def register(
    key: ReservationKey,
    new_key: ReservationKey,
    *,
    aptpl: bool = False,
    all_tg_pt: bool = False,
    spec_i_pt: Sequence[TransportId] = (),
) -> Command:
    """REGISTER: from ``key`` (`ZERO_KEY` when this nexus has none) to ``new_key``.

    A ``new_key`` of zero unregisters.  ``spec_i_pt`` registers further initiator ports with the same key.
    """
    flags = _flags(aptpl=aptpl, all_tg_pt=all_tg_pt, spec_i_pt=bool(spec_i_pt))
    parameters = _parameters(key, new_key, flags) + _transport_ids(spec_i_pt)
    return _persistent_reserve_out(PrOut.REGISTER, parameters)


def register_and_ignore_existing_key(
    new_key: ReservationKey, *, aptpl: bool = False, all_tg_pt: bool = False
) -> Command:
    """REGISTER AND IGNORE EXISTING KEY: this nexus has ``new_key`` now, whatever it had before."""
    flags = _flags(aptpl=aptpl, all_tg_pt=all_tg_pt, spec_i_pt=False)
    action = PrOut.REGISTER_AND_IGNORE_EXISTING_KEY
    return _persistent_reserve_out(action, _parameters(ZERO_KEY, new_key, flags))


def reserve(key: ReservationKey, pr_type: PrType, scope: Scope = Scope.LOGICAL_UNIT) -> Command:
    """RESERVE; GOOD again for the holder itself."""
    return _persistent_reserve_out(PrOut.RESERVE, _parameters(key, ZERO_KEY), pr_type, scope)


def release(key: ReservationKey, pr_type: PrType, scope: Scope = Scope.LOGICAL_UNIT) -> Command:
    """RELEASE; type and scope must be the reservation's.

    GOOD from a registrant that does not hold changes nothing (SPC-4 5.13.11.2.2), so read back.
    """
    return _persistent_reserve_out(PrOut.RELEASE, _parameters(key, ZERO_KEY), pr_type, scope)


def clear(key: ReservationKey) -> Command:
    """CLEAR: no reservation and no registration any more, of anybody."""
    return _persistent_reserve_out(PrOut.CLEAR, _parameters(key, ZERO_KEY))


def preempt(
    key: ReservationKey,
    victim: ReservationKey,
    pr_type: PrType,
    scope: Scope = Scope.LOGICAL_UNIT,
) -> Command:
    """PREEMPT: remove every registration with ``victim``, and take its reservation as ``pr_type``.

    The victim's commands in flight go on.
    """
    return _persistent_reserve_out(PrOut.PREEMPT, _parameters(key, victim), pr_type, scope)


def preempt_and_abort(
    key: ReservationKey,
    victim: ReservationKey,
    pr_type: PrType,
    scope: Scope = Scope.LOGICAL_UNIT,
) -> Command:
    """PREEMPT AND ABORT: as `preempt`, and the victim's commands in flight are aborted first."""
    parameters = _parameters(key, victim)
    return _persistent_reserve_out(PrOut.PREEMPT_AND_ABORT, parameters, pr_type, scope)


def register_and_move(
    key: ReservationKey,
    moved_to_key: ReservationKey,
    relative_target_port: int,
    transport_id: TransportId,
    *,
    unregister: bool = False,
    aptpl: bool = False,
) -> Command:
    """REGISTER AND MOVE: give the reservation to another initiator port, registering it (6.16.4)."""
    flags = (MOVE_UNREG if unregister else 0) | (MOVE_APTPL if aptpl else 0)
    parameters = key.raw + moved_to_key.raw + bytes((0, flags))
    parameters += uint_bytes(relative_target_port, 2, "relative target port")
    parameters += uint_bytes(len(transport_id.raw), 4, "TransportID length") + transport_id.raw
    return _persistent_reserve_out(PrOut.REGISTER_AND_MOVE, parameters)


def replace_lost_reservation(
    new_key: ReservationKey, pr_type: PrType, scope: Scope = Scope.LOGICAL_UNIT
) -> Command:
    """REPLACE LOST RESERVATION: start over after the target lost its reservations (5.13.11.3)."""
    parameters = _parameters(ZERO_KEY, new_key)
    return _persistent_reserve_out(PrOut.REPLACE_LOST_RESERVATION, parameters, pr_type, scope)


def _flags(*, aptpl: bool, all_tg_pt: bool, spec_i_pt: bool) -> int:
    return (
        (APTPL if aptpl else 0) | (ALL_TG_PT if all_tg_pt else 0) | (SPEC_I_PT if spec_i_pt else 0)
    )


def _parameters(key: ReservationKey, action_key: ReservationKey, flags: int = 0) -> bytes:
    return key.raw + action_key.raw + bytes((0, 0, 0, 0, flags, 0, 0, 0))


def _transport_ids(transport_ids: Sequence[TransportId]) -> bytes:
    """6.16.3, table 220: the additional length, then the TransportIDs; nothing without SPEC_I_PT."""
    if not transport_ids:
        return b""
    joined = b"".join(one.raw for one in transport_ids)
    return uint_bytes(len(joined), 4, "TransportID list length") + joined


def _persistent_reserve_out(
    action: PrOut,
    parameters: bytes,
    pr_type: PrType | None = None,
    scope: Scope = Scope.LOGICAL_UNIT,
) -> Command:
    scope_and_type = 0 if pr_type is None else scope << 4 | pr_type
    length = uint_bytes(len(parameters), 4, "parameter list length")
    cdb = bytes((OpCode.PERSISTENT_RESERVE_OUT, action, scope_and_type, 0, 0)) + length + b"\0"
    name = f"PERSISTENT RESERVE OUT, {action.name.replace('_', ' ')}"
    return Command(name, cdb, data_out=parameters)
