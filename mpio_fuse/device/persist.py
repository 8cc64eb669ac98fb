"""PERSISTENT RESERVE OUT by hand, over device nodes that somebody names.

Theory of operation
-------------------
*Registering* is about nexuses, so it goes over every underpath given.  Everything else is about the logical unit and
needs one nexus that may say it, so it is tried over one underpath after the other until the target takes it: a command
that a target refuses has changed nothing.  RELEASE is GOOD from any registrant and works from the holder only, so
it is believed once the reservation is gone, and else tried over the next one.

An answer that was lost ends it: the command may have worked.  Whoever asked is told so, with the state as it is.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_in import Reservation
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.transport_id import TransportId
from mpio_fuse.scsi.verdict import Verdict, describe, is_answer_lost, judge

REGISTERING = frozenset((PrOut.REGISTER, PrOut.REGISTER_AND_IGNORE_EXISTING_KEY))
PREEMPTING = frozenset((PrOut.PREEMPT, PrOut.PREEMPT_AND_ABORT))


@attrs.frozen(kw_only=True)
class Request:
    """One PERSISTENT RESERVE OUT.  ``new_key`` is the SERVICE ACTION RESERVATION KEY: new key, or victim.

    ``type`` None: the type that is held, or the patent's where nothing is.
    """

    action: PrOut
    key: ReservationKey = ZERO_KEY
    new_key: ReservationKey = ZERO_KEY
    type: PrType | None = None
    scope: Scope = Scope.LOGICAL_UNIT
    aptpl: bool = False
    all_tg_pt: bool = False
    unregister: bool = False
    relative_target_port: int = 0
    transport_ids: tuple[TransportId, ...] = ()

    def command(self, held: PrType | None = None) -> Command:
        """The command; ``held`` is the type of the reservation there is."""
        return _BUILDERS[self.action](
            self, self.type or held or PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
        )


_BUILDERS: Mapping[PrOut, Callable[[Request, PrType], Command]] = {
    PrOut.REGISTER: lambda one, _: pr_out.register(
        one.key,
        one.new_key,
        aptpl=one.aptpl,
        all_tg_pt=one.all_tg_pt,
        spec_i_pt=one.transport_ids,
    ),
    PrOut.REGISTER_AND_IGNORE_EXISTING_KEY: lambda one, _: pr_out.register_and_ignore_existing_key(
        one.new_key, aptpl=one.aptpl, all_tg_pt=one.all_tg_pt
    ),
    PrOut.RESERVE: lambda one, kind: pr_out.reserve(one.key, kind, one.scope),
    PrOut.RELEASE: lambda one, kind: pr_out.release(one.key, kind, one.scope),
    PrOut.CLEAR: lambda one, _: pr_out.clear(one.key),
    PrOut.PREEMPT: lambda one, kind: pr_out.preempt(one.key, one.new_key, kind, one.scope),
    PrOut.PREEMPT_AND_ABORT: lambda one, kind: pr_out.preempt_and_abort(
        one.key, one.new_key, kind, one.scope
    ),
    PrOut.REGISTER_AND_MOVE: lambda one, _: pr_out.register_and_move(
        one.key,
        one.new_key,
        one.relative_target_port,
        one.transport_ids[0],
        unregister=one.unregister,
        aptpl=one.aptpl,
    ),
    PrOut.REPLACE_LOST_RESERVATION: lambda one, kind: pr_out.replace_lost_reservation(
        one.new_key, kind, one.scope
    ),
}


@attrs.define
class Persist:
    """One logical unit, by the underpaths that somebody named."""

    lun: str
    underpaths: Sequence[Underpath]
    timeout_s: float
    on_attention: OnAttention

    @property
    def reader(self) -> ReserveReader:
        """Reads over the same underpaths."""
        return ReserveReader(self.lun, self.underpaths, self.timeout_s, self.on_attention)

    async def perform(self, request: Request) -> list[str]:
        """Do it; gives the names of the underpaths over which it was done.

        Raises:
            MpioError, ExceptionGroup: refused, without effect, or nobody knows.
        """
        if request.action in REGISTERING:
            return await self._perform_on_all(request)
        return [await self._perform_on_one(request)]

    async def _perform_on_all(self, request: Request) -> list[str]:
        done, errors = [], []
        for underpath in self.underpaths:
            completion = await self._send(underpath, request.command())
            if completion.is_good:
                done.append(underpath.name)
            else:
                errors.append(await self._error(underpath, request, completion))
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("not all underpaths registered", errors)
        return done

    async def _perform_on_one(self, request: Request) -> str:
        errors = []
        for underpath in self.underpaths:
            before = await self.reader.reservation()
            completion = await self._send(underpath, request.command(before.type))
            if completion.is_good and await self._took_effect(request, before):
                return underpath.name
            errors.append(await self._error(underpath, request, completion))
            if is_answer_lost(completion):
                break
        raise errors[-1]

    async def _took_effect(self, request: Request, before: Reservation) -> bool:
        """Whether a RELEASE released something, if there was something; other commands mean their GOOD."""
        if request.action is not PrOut.RELEASE or not before.is_held:
            return True
        return (await self.reader.reservation()).holder != before.holder

    async def _send(self, underpath: Underpath, command: Command) -> Completion:
        return await issue(underpath, command, self.timeout_s, self.on_attention)

    async def _error(
        self, underpath: Underpath, request: Request, completion: Completion
    ) -> MpioError:
        """What went wrong, with what the target says of registrations and reservation now."""
        name = request.command().name
        state = await self.reader.state()
        if completion.is_good:
            what = f"{name}: GOOD, but nothing was released: {holder_text(state)}"
            hint = "only the nexus that holds can release: name its node too, or preempt the key"
        elif is_answer_lost(completion):
            what = f"{name}: no answer ({describe(completion)}), so it may have worked or not"
            hint = f"now the LUN is {holder_text(state)}"
        elif completion.status == Status.RESERVATION_CONFLICT:
            reason, hint = conflict_reason(request, state)
            what = f"{name}: RESERVATION CONFLICT, {reason}"
        elif judge(completion) in {Verdict.NOT_SUPPORTED, Verdict.INVALID}:
            what = f"{name}: the target does not take it ({describe(completion)}); the LUN is {holder_text(state)}"
            hint = "'mpio-fuse persist report-capabilities' tells what it can"
        else:
            what, hint = f"{name}: {describe(completion)}", f"the LUN is {holder_text(state)}"
        return MpioError(what, lun=self.lun, underpath=underpath.name, hint=hint)


_REGISTER_FIRST = "register it first, or give the key that is registered with --key"


def conflict_reason(request: Request, state: ReserveState) -> tuple[str, str]:
    """Why a target answered RESERVATION CONFLICT, as far as keys and reservation tell, and what to do."""
    held = state.reservation
    if request.action is PrOut.REGISTER:
        hint = "give that key with --key, or use register-ignore"
        what = "registered already" if request.key.is_zero else f"not registered by {request.key}"
        return f"this nexus is {what}; the LUN is {holder_text(state)}", hint
    if request.key not in state.keys:
        return (
            f"key {request.key} is not registered; the LUN is {holder_text(state)}",
            _REGISTER_FIRST,
        )
    if request.action in PREEMPTING and request.new_key not in {*state.keys, ZERO_KEY}:
        hint = "'mpio-fuse persist read-keys' shows which are"
        return f"no registration has key {request.new_key}; the LUN is {holder_text(state)}", hint
    if held.is_held and held.holder != request.key:
        return holder_text(state), "preempt that key if its host is dead"
    if held.is_held and request.type not in {None, held.type}:
        return holder_text(state), "give that type, or release it first"
    return (
        f"this nexus is not registered with key {request.key}; the LUN is {holder_text(state)}",
        _REGISTER_FIRST,
    )


def holder_text(state: ReserveState) -> str:
    """``held by key 0x... (Exclusive Access, ...)``, or ``held by nobody``."""
    held = state.reservation
    if held.holder is None or held.type is None:
        return "held by nobody"
    if held.type.is_all_registrants:
        return f"held by every registrant ({held.type.title})"
    return f"held by key {held.holder} ({held.type.title})"
