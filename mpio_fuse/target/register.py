"""REGISTER, REGISTER AND IGNORE EXISTING KEY (SPC-4 5.13.7) and REGISTER AND MOVE (5.13.8)."""

from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.transport_id import TransportId
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.pr_out_parameters import PrOutRequest
from mpio_fuse.target.refusal import INVALID_FIELD, RESERVATION_CONFLICT, Refusal
from mpio_fuse.target.registrations import Registration, Registrations


def register(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """Tables 53 and 54: what happens depends on whether this nexus is registered, and on both keys."""
    registration = state.of(nexus)
    ignores_key = request.action is PrOut.REGISTER_AND_IGNORE_EXISTING_KEY
    if registration is None:
        if not ignores_key and not request.key.is_zero:
            raise Refusal(RESERVATION_CONFLICT)
        _register_new(state, nexus, request)
        return
    if not ignores_key and request.key != registration.key:
        raise Refusal(RESERVATION_CONFLICT)
    _check_existing(state, registration, request)
    if request.action_key.is_zero:
        _unregister(state, nexus, registration)
    else:
        registration.key = request.action_key
        state.next_generation()
    state.is_aptpl_active = request.aptpl


def _register_new(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    if request.action_key.is_zero:
        if state.quirks.generation_of_no_change:
            state.next_generation()
        return
    # Every port is looked up before the first is registered: a refusal must leave nothing behind.
    others = [_known_port(state, one, nexus.target_port) for one in request.transport_ids]
    for one in (nexus, *others):
        for port in _ports(state, one) if request.all_tg_pt else [one]:
            state.add(port, request.action_key, all_tg_pt=request.all_tg_pt)
            state.next_generation()
    state.is_aptpl_active = request.aptpl


def _check_existing(
    state: Registrations, registration: Registration, request: PrOutRequest
) -> None:
    if request.spec_i_pt:
        raise Refusal(state.quirks.invalid_parameter)
    lacks_bit = registration.all_tg_pt and not request.all_tg_pt
    if state.quirks.all_tg_pt_must_be_repeated and lacks_bit:
        raise Refusal(INVALID_FIELD)


def _unregister(state: Registrations, nexus: Nexus, registration: Registration) -> None:
    leaving = [registration]
    if registration.all_tg_pt:
        leaving += [
            one
            for one in state.with_key(registration.key)
            if one.all_tg_pt and one is not registration and _is_same_initiator(one.nexus, nexus)
        ]
    pr_type = state.type
    lost = [state.remove(one) for one in leaving]
    if state.quirks.generation_of_unregister:
        state.next_generation()
    if any(lost) and pr_type is not None:
        state.next_generation(state.quirks.generation_of_lost_holder)
        state.attend_to_release(pr_type, nexus, unregistered=True)


def register_and_move(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """The holder gives the reservation to another initiator port, which it registers with that."""
    registration = state.of(nexus)
    if registration is None:
        raise Refusal(state.quirks.unregistered)
    if request.key != registration.key:
        raise Refusal(RESERVATION_CONFLICT)
    if request.action_key.is_zero:
        raise Refusal(state.quirks.invalid_parameter)
    target = _known_port(state, request.transport_ids[0], request.relative_target_port)
    if state.is_same(target, nexus):
        raise Refusal(state.quirks.invalid_parameter)
    if state.type is None:
        raise Refusal(INVALID_FIELD)
    if not state.is_holder(registration) or state.type.is_all_registrants:
        raise Refusal(RESERVATION_CONFLICT)
    state.hold(state.add(target, request.action_key), state.type)
    if request.unregister:
        state.remove(registration)
    state.is_aptpl_active = request.aptpl
    state.next_generation()


def _known_port(state: Registrations, transport_id: TransportId, target_port: int) -> Nexus:
    """The session between that initiator port and that target port; a device's name means any of its ports.

    Raises:
        Refusal: no such initiator has ever come here.
    """
    for nexus in state.nexuses:
        names = (nexus.transport_id.name, nexus.initiator_name)
        if nexus.target_port == target_port and transport_id.name in names:
            return nexus
    raise Refusal(state.quirks.invalid_parameter)


def _ports(state: Registrations, nexus: Nexus) -> list[Nexus]:
    """ALL_TG_PT: that initiator's nexuses through every target port, this one first."""
    others = [
        one
        for one in state.nexuses
        if _is_same_initiator(one, nexus) and one.target_port != nexus.target_port
    ]
    by_port = {one.target_port: one for one in others}
    return [nexus, *by_port.values()]


def _is_same_initiator(one: Nexus, other: Nexus) -> bool:
    return one.initiator_name == other.initiator_name
