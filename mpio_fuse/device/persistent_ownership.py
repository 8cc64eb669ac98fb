"""Owning a logical unit by persistent reservations: the patent's procedures, over all underpaths at once.

Theory of operation
-------------------
Type 6 lets every registrant in, also a host that has only registered.  So the device itself is the gate-keeper: a data
command leaves only with a `Grant`, and a grant comes only from an open whose procedure ended well.

* An open runs with the I/O gate closed.  It registers all underpaths again, and if another host has preempted us
  meanwhile, that would let our older handles in under the other host's reservation.  So whatever the
  procedure finds is applied to the older grant, by fencing it, before the gate opens.
* The reservation is taken by the first reserving open, shared by later ones, released by the last close, and kept by
  that close when an open asked to retain it.
* A fenced grant stays fenced; a new open starts afresh.
"""

import errno
from collections.abc import Awaitable, Callable, Sequence

import attrs
import structlog

from mpio_fuse.device.gate import Gate
from mpio_fuse.device.giving_back import GivingBack
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.recovery import DeviceRecovery, is_ours
from mpio_fuse.device.refusal import refusal
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.runner import Runner
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.shared_key import other_users_of
from mpio_fuse.device.side_by_side import side_by_side
from mpio_fuse.device.situation import read_situation
from mpio_fuse.device.snapshot import ReservationSnapshot, reservation_snapshot
from mpio_fuse.device.underpath import Suspicion, Underpath, UnderpathState, failures_of
from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.fig05_register import register
from mpio_fuse.reserve.fig06_unregister import unregister
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from mpio_fuse.reserve.procedure import ERRNOS, End, Outcome
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.verdict import Verdict

log = structlog.get_logger(__name__)


class PersistentOwnership:
    """See `mpio_fuse.device.ownership.Ownership`.

    Args:
        on_fenced: called when a grant has been fenced; must not block.
        clock: Unix time, for what people are told; nothing is decided by it.
        check_doubtful: finds out which underpaths hang, of those not heard of since then.
    """

    def __init__(
        self,
        lun: str,
        same_disk: SameDisk,
        underpaths: Sequence[Underpath],
        settings: Settings,
        gate: Gate,
        on_fenced: Callable[[], None],
        clock: Callable[[], float],
        check_doubtful: Callable[[float], Awaitable[None]],
    ) -> None:
        self._lun = lun
        self._underpaths = underpaths
        self._settings = settings
        self._gate = gate
        self._on_fenced = on_fenced
        self._clock = clock
        self._grant: Grant | None = None
        self._stays_out = False
        """Fenced, and not opened since: its underpaths are not registered again by themselves."""
        self._log = log.bind(lun=lun)
        self._same_disk = same_disk
        self.registrar = Registrar(
            lun, underpaths, settings, self.note_attention, same_disk, check_doubtful
        )
        self._recovery = DeviceRecovery(
            lun,
            same_disk,
            underpaths,
            gate,
            self.registrar,
            self._fence,
            settings.control_timeout_s,
        )
        self._giving_back = GivingBack(lun, underpaths, settings, self.registrar, self._recovery)

    @property
    def grant(self) -> Grant | None:
        return self._grant

    @property
    def recovery(self) -> DeviceRecovery:
        return self._recovery

    # -- for people

    def reservation(self) -> ReservationSnapshot:
        return reservation_snapshot(self.registrar.last_state, self._settings.key)

    def retention(self) -> Retention | None:
        return self._giving_back.retention if self._giving_back.is_retaining else None

    def is_holder(self, underpath: Underpath) -> bool:
        return self.registrar.reserved is underpath

    async def situation(self, opens: tuple[OpenOption, ...]) -> Situation:
        settings = self._settings
        found = await read_situation(
            self._lun,
            settings.key,
            self._underpaths,
            settings.control_timeout_s,
            self.note_attention,
        )
        grant, holder = self._grant, self.registrar.reserved
        is_lost = (
            grant is not None
            and found.reservation is not None
            and not is_ours(grant, ReserveState(found.keys, found.reservation), self.registrar)
        )
        return attrs.evolve(
            found,
            holder_name=holder.name if holder and not is_lost else None,
            opens=opens,
            is_lost=is_lost,
            is_reserving=grant is not None and grant.is_reserving,
            unregisters_standby=settings.standby == "unregistered",
        )

    # -- coming and going

    async def configure(self) -> None:
        """Figure 5 for every underpath."""
        async with self._gate.closed(self._settings.control_timeout_s):
            await self.registrar.each(self._underpaths, self._configure_underpath)
            if not any(underpath.registered for underpath in self._underpaths):
                raise NoUsableUnderpath(
                    f"no underpath could be registered ({failures_of(self._underpaths)})",
                    lun=self._lun,
                    hint="check the cabling, and that the array lets this host register",
                )
            await self._refuse_shared_key()
            state = await self.registrar.read_state()
            self.registrar.note_scheme(state)
            if state.is_held_by(self._settings.key):
                self._giving_back.retention = Retention()
                self._log.info("reservation found ours, and kept")

    async def stand_by(self) -> None:
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._stand_by()

    async def _configure_underpath(self, underpath: Underpath) -> bool:
        """One underpath through Figure 5; whether it is registered.

        The first attempt is REGISTER, which conflicts when this nexus is registered already, as after a crash of
        this host's daemon; the second ignores what was there.  Unless the first was good, what an earlier life sent
        here may still be under way, and a barrier comes before the first write.
        """
        underpath.has_lost_write = True
        procedure = register()
        here = next(procedure)
        try:
            while True:
                is_again = here.label != "510"
                is_good = await self.registrar.register(underpath, ignore_existing=is_again)
                underpath.has_lost_write = is_again or not is_good
                here = procedure.send(Outcome.GOOD if is_good else Outcome.REFUSED)
        except StopIteration as stop:
            self._log.debug("configured", underpath=underpath.name, end=stop.value.value)
        return underpath.registered

    async def withdraw(self) -> str:
        """Figure 6.  A retained reservation stays, and the registrations with it: the holder's would take it along."""
        await self._giving_back.await_stragglers()
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._giving_back.look_at_retained()
            await self._giving_back.release_owed()
            if self._giving_back.is_retaining:
                self._log.info("reservation retained")
                return ""
            if self._giving_back.owes:
                return "the reservation could not be released"
            return await self._unregister()

    async def _unregister(self) -> str:
        """Figure 6; what of ours the array still has, in words."""
        await self._find_leftover()
        if not any(one.registered for one in self._underpaths):
            return ""
        await Runner(self.registrar).run(unregister(reserved=False))
        left = await self._left_behind()
        if left:
            # What we counted as registered may have been preempted since, and have hidden what nobody counts.
            await self.registrar.unregister_uncounted()
            left = await self._left_behind()
        return left

    async def _left_behind(self) -> str:
        try:
            state = await self.registrar.read_state()
        except NoUsableUnderpath:
            return f"no underpath answers, so key {self._settings.key} may still be registered"
        left = state.keys.count(self._settings.key)
        return f"key {self._settings.key} is still registered, {left} times" if left else ""

    async def _find_leftover(self) -> None:
        """A registration may have happened though whoever asked for it was cancelled: then nobody counts it."""
        if any(one.registered for one in self._underpaths):
            return
        try:
            if self._settings.key not in (await self.registrar.read_state()).keys:
                return
        except NoUsableUnderpath:
            return
        for underpath in self._underpaths:
            if await self.registrar.register(underpath, ignore_existing=True):
                return

    async def readmit(self, underpath: Underpath) -> bool:
        if not await self._same_disk.check(underpath):
            return False
        underpath.suspicion = None  # whatever it told comes before the looks that follow
        if self._grant is not None:
            return await self._recovery.readmit(self._grant, underpath)
        async with self._gate.closed(self._settings.control_timeout_s):
            if self._stays_out or self._keeps_nothing:
                # It may still be registered, under our key or one of an earlier life, and could write.
                await self.registrar.forget(underpath)
                return False
            return await self.registrar.register(underpath, ignore_existing=True)

    # -- open and close

    async def open(self, options: OpenOption) -> Grant:
        """Figure 7, and the one that it chooses."""
        if options is OpenOption.NO_RESERVE and self._grant is None:
            await self._giving_back.settle()
        async with self._gate.closed(self._settings.control_timeout_s):
            try:
                return await self._open_gated(options)
            except BaseException:
                if self._grant is None:
                    self._giving_back.note_half_open()
                raise

    async def _open_gated(self, options: OpenOption) -> Grant:
        await self._fence_if_lost()
        self._stays_out = False
        await self._readmit_for_open(await self._verify_identities())
        if options is OpenOption.NO_RESERVE and self._grant is None:
            await self._giving_back.require_quiet()
        grant = self._grant
        runner = Runner(
            self.registrar,
            is_open_here=grant is not None,
            is_held_open_here=grant is not None and grant.is_reserving,
        )
        end = await runner.run(decide(options)())
        if end not in (End.OPENED, End.OPENED_RETAINED):
            await self._after_refusal()
            raise self._refusal(end, options, self.registrar.last_state)
        if self._grant is None:
            await self._refuse_shared_key()
        await self._end_victims_commands(options)
        verified = [(one, one.suspicion) for one in self._underpaths if not one.is_doubtful]
        state = await self.registrar.read_state()
        grant = self._grant or Grant(self._lun)
        if OpenOption.NO_RESERVE not in options:
            if not grant.is_reserving:
                self._distrust_stragglers()
            grant.is_reserving = True
        if not is_ours(grant, state, self.registrar):
            self._fence(grant, state)
            await self._after_refusal()
            raise self._refusal(End.EIO, options, state)
        _clear(verified)
        if self._grant is None:
            self._giving_back.retention = None
        self._giving_back.owes = False
        self._grant = grant
        if OpenOption.RETAIN_RESERVATION in options and self._giving_back.retention is None:
            self._giving_back.retention = Retention(self._clock())
        return grant

    def _distrust_stragglers(self) -> None:
        """What was sent before we reserved, and is out still, would be let in by our own reservation: bar it first."""
        for underpath in self._underpaths:
            if underpath.transport.stranded:
                underpath.has_lost_write = True

    async def _readmit_for_open(self, answering: Sequence[Underpath]) -> None:
        """While a grant stands, an underpath that lost its registration is registered as at any other time."""
        for underpath in answering:
            if self._grant is not None and not underpath.registered:
                try:
                    await self._recovery.admit(self._grant, underpath)
                except MpioError as error:
                    self._log.info("not readmitted", underpath=underpath.name, cause=str(error))

    async def _end_victims_commands(self, options: OpenOption) -> None:
        """What the old owner still has at the array must not land once this host is told that the disk is its own.

        Raises:
            OpenRefused: EIO, nobody could make sure of it; the reservation stays ours, and the next open tries again.
        """
        if self.registrar.owes_abort and not await self._recovery.drop_all_commands():
            self._giving_back.retention = self._giving_back.retention or Retention(self._clock())
            raise OpenRefused(
                f"open with {options}: taken over, but the array would not confirm that the old owner's writes are over"
                " (no PREEMPT AND ABORT, no LOGICAL UNIT RESET)",
                ERRNOS[End.EIO],
                lun=self._lun,
                hint="open it again once the old owner is down for certain",
            )

    async def _refuse_shared_key(self) -> None:
        """Refuse when another host has our key registered: the array cannot tell the two of us apart.

        Raises:
            OpenRefused: EIO; our registrations are taken back first.
        """
        for underpath in self._underpaths:
            if underpath.registered:
                timeout_s = self._settings.control_timeout_s
                users = await other_users_of(
                    self._settings.key, underpath, timeout_s, self.note_attention
                )
                break
        else:
            return
        if users:
            await self.registrar.unregister_all(is_key_ours_alone=False)
            raise OpenRefused(
                f"key {self._settings.key} is registered by {' and '.join(sorted(users))}",
                errno.EIO,
                lun=self._lun,
                hint="give each host a key of its own (--key, or key in the configuration)",
            )

    async def _verify_identities(self) -> list[Underpath]:
        """Another disk may sit behind a node since it was found; what unit attentions told is settled with it.

        Those that lead to our disk.
        """

        async def verify(underpath: Underpath) -> bool:
            before = underpath.suspicion
            is_ours = await self._same_disk.check(underpath)
            if is_ours and underpath.suspicion is before:
                underpath.suspicion = None
            return is_ours

        there = [one for one in self._underpaths if one.is_worth_asking]
        if self._grant is not None:  # I/O waits meanwhile; the checker looks after the others
            there = [one for one in there if one.is_in_service]
        return await side_by_side(there, verify)

    async def give_up(self, grant: Grant) -> None:
        """Figure 12.  The grant is over also when this is cancelled: what is owed then, the next look makes up for."""
        self._giving_back.owes = grant.is_reserving and self._giving_back.retention is None
        try:
            await self._giving_back.bar(grant)
            if grant.is_fenced:
                return
            async with self._gate.closed(self._settings.control_timeout_s):
                self._end(grant)
                await self._giving_back.release_owed()
                await self._stand_by()
        finally:
            self._end(grant)

    def _end(self, grant: Grant) -> None:
        if self._grant is grant:
            self._grant = None
        grant.is_given_up = True

    async def retire(self, underpath: Underpath) -> None:
        """Unregistering the holder would release the reservation, so another takes it over first."""
        grant = self._grant
        if underpath.has_lost_write and grant is not None:
            await self._recovery.bar(grant)
        async with self._gate.closed(self._settings.control_timeout_s):
            if underpath.in_flight:
                what = "commands are still under way there"
                hint = "try again once they have ended"
                raise MpioError(what, lun=self._lun, underpath=underpath.name, hint=hint)
            if self.registrar.reserved is underpath and (
                grant is not None or self._giving_back.is_retaining
            ):
                await self._recovery.move_from(underpath, grant)
            if underpath.registered and underpath.state is not UnderpathState.REMOVED:
                await self.registrar.unregister(underpath)

    async def is_recognised(self, underpaths: Sequence[Underpath]) -> bool:
        """By REGISTER that names our key: it conflicts where our registration is not."""
        async with self._gate.closed(self._settings.control_timeout_s):
            answers = [await self.registrar.confirm(one) for one in underpaths]
        return bool(answers) and all(answers)

    async def look(self) -> None:
        if self._grant is not None:
            await self._recovery.look(self._grant)
            return
        if self._giving_back.owes:
            await self._finish_release()
        await self.registrar.read_state()
        self._giving_back.note_loss()

    async def _finish_release(self) -> None:
        """Make up for a release that the last close could not do."""
        await self._giving_back.bar(Grant(self._lun, is_reserving=True))
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._giving_back.release_owed()
            await self._stand_by()

    async def release_retained(self) -> None:
        if (await self.registrar.read_state()).is_held_by(self._settings.key):
            await self._giving_back.bar(Grant(self._lun, is_reserving=True))
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._giving_back.release_retained()
            await self._stand_by()

    async def _fence_if_lost(self) -> None:
        """Before anything is registered again, see that the older handles' grant still stands."""
        grant = self._grant
        if grant is None:
            return
        state = await self.registrar.read_state()
        if not is_ours(grant, state, self.registrar):
            self._fence(grant, state)

    async def _after_refusal(self) -> None:
        try:
            await self._fence_if_lost()
            await self._stand_by()
        except NoUsableUnderpath as error:
            self._log.info("state unknown after a refused open", cause=str(error))

    @property
    def _keeps_nothing(self) -> bool:
        """Whether this host is to have nothing at the array, as configured and because it has nothing to do there."""
        is_idle = (
            self._grant is None
            and not self._giving_back.is_retaining
            and not self._giving_back.owes
        )
        return self._settings.standby == "unregistered" and is_idle

    async def _stand_by(self) -> None:
        """A host that holds nothing keeps its registrations, or not, as configured."""
        if self._keeps_nothing:
            await self.registrar.unregister_all()

    def _refusal(self, end: End, options: OpenOption, state: ReserveState | None) -> OpenRefused:
        request = f"open with {options}"
        return refusal(self._lun, self._settings.key, self._underpaths, end, request, state)

    # -- fencing

    def _fence(self, grant: Grant, state: ReserveState) -> None:
        """End a grant.  Synchronous: from here on none of its commands leaves."""
        if grant.is_fenced:
            return
        grant.is_fenced = True
        if self._settings.key not in state.keys:
            for underpath in self._underpaths:
                underpath.registered = False
        self._stays_out = True
        if self._grant is grant:
            self._grant = None
            self._giving_back.forget()
            self.registrar.reserved = None
        reservation = reservation_snapshot(state, self._settings.key)
        self._log.warning("fenced", reservation=reservation.owner, holder=str(reservation.holder))
        self._on_fenced()

    def note_attention(self, underpath: Underpath, verdict: Verdict, what: str) -> None:
        """A unit attention or deferred error met by a control command: told once, so it must not be lost."""
        self._log.info("unit attention", underpath=underpath.name, sense=what)
        if verdict is Verdict.DEFERRED_ERROR:
            if self._grant is not None:
                self._grant.lost_writes += 1
        elif verdict is not Verdict.RETRY_HERE:
            underpath.suspicion = Suspicion(verdict)


def _clear(verified: list[tuple[Underpath, Suspicion | None]]) -> None:
    """Of lost answers and the like: who is there was asked, and the state that was read after it shows the rest."""
    for underpath, told in verified:
        if told is not None and told.is_of_identity and underpath.suspicion is told:
            underpath.suspicion = None
