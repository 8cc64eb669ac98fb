"""PREEMPT and PREEMPT AND ABORT (SPC-4 5.13.11.2.4): taking a reservation or registrations away.

Three cases, which the standard's figure tells apart by the SERVICE ACTION RESERVATION KEY: it is the holder's, and the
reservation changes hands; it is zero under a type of all registrants, and everybody else goes; it is anybody
else's, and only registrations go, and TYPE and SCOPE are not looked at.
"""

import attrs

from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.sense_codes import RESERVATIONS_RELEASED
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.pr_out_parameters import PrOutRequest
from mpio_fuse.target.refusal import RESERVATION_CONFLICT, Refusal
from mpio_fuse.target.registrations import Registration, Registrations


@attrs.frozen
class Preempted:
    """What a preempt removed: ``victims``, and with ``took_over`` the reservation that ``key`` held."""

    key: ReservationKey
    victims: tuple[Registration, ...]
    took_over: bool


def preempt(state: Registrations, nexus: Nexus, request: PrOutRequest) -> Preempted:
    """Both actions; aborting the victims' commands is up to the caller."""
    if state.quirks.checks_type_on_preempt:
        _ = request.pr_type
    issuer = state.of(nexus)
    if issuer is None or issuer.key != request.key:
        raise Refusal(RESERVATION_CONFLICT)
    takes_over = _takes_over(state, request)
    is_any_type = state.quirks.preempts_with_any_type
    if state.quirks.checks_type_on_preempt or (takes_over and not is_any_type):
        _check_scope(state, request)
    victims = _victims(state, issuer, request, takes_over=takes_over)
    before = state.held_as
    if takes_over:
        pr_type = _nearest_type(request) if is_any_type else request.pr_type
        state.hold(issuer, pr_type, request.scope_and_type)
    for victim in victims:
        state.remove(victim)
    state.attend(victims, state.quirks.preempted, issuer=nexus)
    if takes_over and before != state.held_as:
        state.attend(state.registered, RESERVATIONS_RELEASED, issuer=nexus)
    state.next_generation()
    return Preempted(request.action_key, tuple(victims), takes_over)


def _check_scope(state: Registrations, request: PrOutRequest) -> None:
    if request.scope != Scope.LOGICAL_UNIT:
        raise Refusal(state.quirks.invalid_scope)


def _nearest_type(request: PrOutRequest) -> PrType:
    """How a TYPE acts that is none."""
    is_type = request.type in set(PrType)
    return PrType(request.type) if is_type else PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


def _takes_over(state: Registrations, request: PrOutRequest) -> bool:
    if state.type is None or state.holder is None:
        return False
    is_named = state.holder.key == request.action_key
    if state.type.is_all_registrants:
        return request.action_key.is_zero or (
            is_named and state.quirks.names_holder_of_all_registrants
        )
    return is_named


def _victims(
    state: Registrations, issuer: Registration, request: PrOutRequest, *, takes_over: bool
) -> list[Registration]:
    key = request.action_key
    if key.is_zero:
        return _victims_of_key_zero(state, issuer)
    matching = state.with_key(key)
    if not matching:
        raise Refusal(RESERVATION_CONFLICT)
    is_all_registrants = state.type is not None and state.type.is_all_registrants
    spares_issuer = takes_over or is_all_registrants or not state.quirks.preempts_own_registration
    return [one for one in matching if one is not issuer or not spares_issuer]


def _victims_of_key_zero(state: Registrations, issuer: Registration) -> list[Registration]:
    """Key 0 means everybody else under a type of all registrants, and is a mistake otherwise."""
    if state.type is not None and state.type.is_all_registrants:
        return [one for one in state.registered if one is not issuer]
    if state.type is None and state.quirks.preempts_key_zero_of_nobody:
        return []
    raise Refusal(state.quirks.invalid_parameter)
