"""PERSISTENT RESERVE OUT on the target's side: what each service action does (SPC-4 5.13.7 to 5.13.11).

Each action is one function over the `Registrations`; it refuses before it changes anything.  What it returns is the
record of what it preempted, for PREEMPT AND ABORT, which aborts commands too.
"""

from collections.abc import Callable

from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_types import Scope
from mpio_fuse.scsi.sense_codes import RESERVATIONS_PREEMPTED
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.pr_out_parameters import PrOutRequest
from mpio_fuse.target.preempt import Preempted, preempt
from mpio_fuse.target.refusal import RESERVATION_CONFLICT, Refusal
from mpio_fuse.target.register import register, register_and_move
from mpio_fuse.target.registrations import Registration, Registrations


def reserve(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """5.13.9.  Repeated by the holder it is GOOD; another type conflicts."""
    quirks = state.quirks
    pr_type = request.pr_type
    if not quirks.checks_scope_last:
        _check_scope(state, request)
    registration = _registration(state, nexus)
    if quirks.checks_key_on_reserve and request.key != registration.key:
        raise Refusal(RESERVATION_CONFLICT)
    _check_scope(state, request)
    if state.type is None:
        state.hold(registration, pr_type)
    elif not state.is_holder(registration) or request.scope_and_type != state.held_as:
        raise Refusal(RESERVATION_CONFLICT)


def release(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """5.13.11.2.2.  From a registrant that does not hold it is GOOD, and does nothing."""
    registration = _registration(state, nexus)
    if state.type is None or not state.is_holder(registration):
        return
    if request.key != registration.key:
        raise Refusal(RESERVATION_CONFLICT)
    if request.scope_and_type != state.held_as:
        raise Refusal(state.quirks.release_of_another_type)
    released = state.type
    state.drop_reservation()
    state.attend_to_release(released, nexus, unregistered=False)


def clear(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """5.13.11.2.7: no reservation and no registration any more."""
    registration = _registration(state, nexus)
    if request.key != registration.key:
        raise Refusal(RESERVATION_CONFLICT)
    state.attend(state.registered, RESERVATIONS_PREEMPTED, issuer=nexus)
    state.forget()
    state.is_aptpl_active = False
    state.next_generation()


def replace_lost_reservation(state: Registrations, nexus: Nexus, request: PrOutRequest) -> None:
    """5.13.11.3: forget everything, register this nexus and let it hold."""
    _check_scope(state, request)
    if not request.key.is_zero or request.action_key.is_zero:
        raise Refusal(state.quirks.invalid_parameter)
    pr_type = request.pr_type
    state.forget()
    state.hold(state.add(nexus, request.action_key), pr_type)
    state.is_aptpl_active = request.aptpl
    state.next_generation()


def _check_scope(state: Registrations, request: PrOutRequest) -> None:
    if request.scope != Scope.LOGICAL_UNIT:
        raise Refusal(state.quirks.invalid_scope)


def _registration(state: Registrations, nexus: Nexus) -> Registration:
    registration = state.of(nexus)
    if registration is None:
        raise Refusal(state.quirks.unregistered)
    return registration


Action = Callable[[Registrations, Nexus, PrOutRequest], Preempted | None]

ACTIONS: dict[PrOut, Action] = {
    PrOut.REGISTER: register,
    PrOut.REGISTER_AND_IGNORE_EXISTING_KEY: register,
    PrOut.RESERVE: reserve,
    PrOut.RELEASE: release,
    PrOut.CLEAR: clear,
    PrOut.PREEMPT: preempt,
    PrOut.PREEMPT_AND_ABORT: preempt,
    PrOut.REGISTER_AND_MOVE: register_and_move,
    PrOut.REPLACE_LOST_RESERVATION: replace_lost_reservation,
}
