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
from collections.abc import Callable, Sequence

import attrs
import structlog
import trio

from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.recovery import DeviceRecovery, is_ours
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
from mpio_fuse.reserve.fig12_release import release
from mpio_fuse.reserve.procedure import ERRNOS, End, Outcome
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.verdict import Verdict

log = structlog.get_logger(__name__)

STRAGGLER_POLL_S = 0.01


class PersistentOwnership:
    """See `mpio_fuse.device.ownership.Ownership`.

    Args:
        on_fenced: called when a grant has been fenced; must not block.
        clock: Unix time, for what people are told; nothing is decided by it.
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
    ) -> None:
        self._lun = lun
        self._underpaths = underpaths
        self._settings = settings
        self._gate = gate
        self._on_fenced = on_fenced
        self._clock = clock
        self._grant: Grant | None = None
        self._owes_release = False
        self._stays_out = False
        """Fenced, and not opened since: its underpaths are not registered again by themselves."""
        self._retention: Retention | None = None
        self._log = log.bind(lun=lun)
        self._same_disk = same_disk
        self.registrar = Registrar(lun, underpaths, settings, self.note_attention, same_disk)
        self._recovery = DeviceRecovery(
            lun,
            same_disk,
            underpaths,
            gate,
            self.registrar,
            self._fence,
            settings.control_timeout_s,
        )

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
        return self._retention if self._is_retaining else None

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
                self._retention = Retention()
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
        await self._await_stragglers()
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._look_at_retained()
            await self._release_owed()
            if self._is_retaining:
                self._log.info("reservation retained")
                return ""
            if self._owes_release:
                return "the reservation could not be released"
            return await self._unregister()

    async def _await_stragglers(self) -> None:
        """Answers that are only just on their way need not keep the reservation at the array."""
        with trio.move_on_after(self._settings.control_timeout_s):
            # Transports tell nobody when they give a command back.
            while self._owes_release and not all(one.is_idle for one in self._underpaths):  # noqa: ASYNC110
                await trio.sleep(STRAGGLER_POLL_S)

    async def _unregister(self) -> str:
        """Figure 6; what of ours the array still has, in words."""
        await self._find_leftover()
        had_registrations = any(one.registered for one in self._underpaths)
        await Runner(self.registrar).run(unregister(reserved=False))
        if not had_registrations:
            return ""
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
        async with self._gate.closed(self._settings.control_timeout_s):
            underpath.suspicion = None
            if self._grant is not None:
                return await self._recovery.readmit_gated(self._grant, underpath)
            if self._stays_out or self._keeps_nothing:
                # It may still be registered, under our key or one of an earlier life, and could write.
                await self.registrar.forget(underpath)
                return False
            return await self.registrar.register(underpath, ignore_existing=True)

    # -- open and close

    async def open(self, options: OpenOption) -> Grant:
        """Figure 7, and the one that it chooses."""
        async with self._gate.closed(self._settings.control_timeout_s):
            try:
                return await self._open_gated(options)
            except BaseException:
                self._note_half_open()
                raise

    def _note_half_open(self) -> None:
        """An open that failed or was cancelled midway may have taken a reservation that nobody has open.

        What cannot be known now (it may yet be carried out) is settled by the next `look`.
        """
        last = self.registrar.last_state
        is_anothers = (
            last is not None
            and last.reservation.is_held
            and not last.is_held_by(self._settings.key)
            and not self.registrar.owes_abort
        )
        if self._grant is None and self._retention is None and not is_anothers:
            self._owes_release = True

    async def _open_gated(self, options: OpenOption) -> Grant:
        await self._fence_if_lost()
        self._stays_out = False
        await self._readmit_for_open(await self._verify_identities())
        grant = self._grant
        runner = Runner(
            self.registrar,
            is_open_here=grant is not None,
            is_held_open_here=grant is not None and grant.is_reserving,
        )
        end = await runner.run(decide(options)())
        if end not in (End.OPENED, End.OPENED_RETAINED):
            await self._after_refusal()
            raise self._refusal(end, f"open with {options}", self.registrar.last_state)
        if self._grant is None:
            await self._refuse_shared_key()
        await self._end_victims_commands(options)
        state = await self.registrar.read_state()
        grant = self._grant or Grant(self._lun)
        if OpenOption.NO_RESERVE not in options:
            grant.is_reserving = True
        if not is_ours(grant, state, self.registrar):
            self._fence(grant, state)
            await self._after_refusal()
            raise self._refusal(End.EIO, f"open with {options}", state)
        if self._grant is None:
            self._retention = None
        self._owes_release = False
        self._grant = grant
        if OpenOption.RETAIN_RESERVATION in options and self._retention is None:
            self._retention = Retention(self._clock())
        return grant

    async def _readmit_for_open(self, answering: Sequence[Underpath]) -> None:
        """While a grant stands, an underpath that lost its registration is registered as at any other time."""
        for underpath in answering:
            if self._grant is not None and not underpath.registered:
                try:
                    await self._recovery.readmit_gated(self._grant, underpath)
                except MpioError as error:
                    self._log.info("not readmitted", underpath=underpath.name, cause=str(error))

    async def _end_victims_commands(self, options: OpenOption) -> None:
        """What the old owner still has at the array must not land once this host is told that the disk is its own.

        Raises:
            OpenRefused: EIO, nobody could make sure of it; the reservation stays ours, and the next open tries again.
        """
        if self.registrar.owes_abort and not await self._recovery.drop_all_commands():
            self._retention = self._retention or Retention(self._clock())
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

        there = [one for one in self._underpaths if one.state is not UnderpathState.REMOVED]
        if self._grant is not None:  # I/O waits meanwhile; the checker looks after the others
            there = [one for one in there if one.is_in_service]
        return await side_by_side(there, verify)

    async def give_up(self, grant: Grant) -> None:
        """Figure 12."""
        self._owes_release = grant.is_reserving and self._retention is None
        await self._bar_before_release(grant)
        if grant.is_fenced:
            return
        async with self._gate.closed(self._settings.control_timeout_s):
            self._grant = None
            grant.is_given_up = True
            await self._release_owed()
            await self._stand_by()

    async def _bar_before_release(self, grant: Grant) -> None:
        """No write of ours may land once others may write."""
        if any(one.has_lost_write for one in self._underpaths):
            try:
                await self._recovery.bar(grant)
            except MpioError as error:
                self._log.info("lost writes not settled", cause=str(error))

    async def _release_owed(self) -> None:
        """Figure 12, now if that is safe; otherwise it stays owed, and `finish_release` tries again.

        A write that is still out, even behind the barrier, could land once nobody holds the reservation.
        """
        if self._owes_release and not await self._may_hold():
            self._owes_release = False
        retain = self._retention is not None
        if self._owes_release and not all(_is_quiet(one) for one in self._underpaths):
            self._log.warning("release postponed", cause="old writes are still out")
            return
        if self._owes_release:
            await self._register_to_release()
        end = await Runner(self.registrar).run(release(reserved=self._owes_release, retain=retain))
        state = self.registrar.last_state
        is_ours_still = state is None or state.is_held_by(self._settings.key)
        self._owes_release = self._owes_release and (end is not End.CLOSED or is_ours_still)

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
            if self.registrar.reserved is underpath and (grant is not None or self._is_retaining):
                await self._recovery.move_from(underpath, grant)
            if underpath.registered and underpath.state is not UnderpathState.REMOVED:
                await self.registrar.unregister(underpath)

    async def is_recognised(self, underpaths: Sequence[Underpath]) -> bool:
        """By REGISTER that names our key: it conflicts where our registration is not."""
        async with self._gate.closed(self._settings.control_timeout_s):
            answers = [await self.registrar.confirm(one) for one in underpaths]
        return bool(answers) and all(answers)

    async def _may_hold(self) -> bool:
        """Whether the reservation is ours, or nobody can tell."""
        try:
            return (await self.registrar.read_state()).is_held_by(self._settings.key)
        except NoUsableUnderpath:
            return True

    async def _register_to_release(self) -> None:
        """Nobody can release without a registration; a session that began anew may have none."""
        try:
            state = await self.registrar.read_state()
        except NoUsableUnderpath:
            return
        is_speechless = not any(one.registered and one.is_usable for one in self._underpaths)
        if is_speechless and state.is_held_by(self._settings.key):
            await self.registrar.register_all()

    async def look(self) -> None:
        if self._grant is not None:
            await self._recovery.look(self._grant)
            return
        if self._owes_release:
            await self._finish_release()
        await self.registrar.read_state()

    async def _finish_release(self) -> None:
        """Make up for a release that the last close could not do."""
        await self._bar_before_release(Grant(self._lun, is_reserving=True))
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._release_owed()
            await self._stand_by()

    async def release_retained(self) -> None:
        if (await self.registrar.read_state()).is_held_by(self._settings.key):
            await self._bar_before_release(Grant(self._lun, is_reserving=True))
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._release_retained_gated()

    async def _release_retained_gated(self) -> None:
        state = await self.registrar.read_state()
        if not state.is_held_by(self._settings.key):
            self._retention = None
            raise self._nothing_to_release(state)
        if not all(_is_quiet(one) for one in self._underpaths):
            what = "not released: old writes are still out, and could land once others may write"
            raise OpenRefused(what, errno.EIO, lun=self._lun, hint="try again in a while")
        if not any(one.registered for one in self._underpaths):
            await self.registrar.register_all()
        await Runner(self.registrar).run(release(reserved=True, retain=False))
        state = await self.registrar.read_state()
        if state.is_held_by(self._settings.key):
            raise self._refusal(End.EIO, "release", state)
        self._retention = None
        self._log.info("retained reservation released")
        await self._stand_by()

    def _nothing_to_release(self, state: ReserveState) -> MpioError:
        held = reservation_snapshot(state, self._settings.key)
        who = f"reserved by key {held.holder} ({held.type})" if held.holder else "nobody holds it"
        return MpioError(f"this host holds no reservation to release: {who}", lun=self._lun)

    async def _look_at_retained(self) -> None:
        """See whether the array still has what is to be retained; if nobody answers, it is taken for true."""
        if self._retention is not None:
            try:
                await self.registrar.read_state()
            except NoUsableUnderpath as error:
                self._log.info("state unknown", cause=str(error))

    @property
    def _is_retaining(self) -> bool:
        """Whether our reservation is to outlive the last close: another host may have taken it since."""
        last = self.registrar.last_state
        is_lost = last is not None and not last.is_held_by(self._settings.key)
        return self._retention is not None and not is_lost

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
        is_idle = self._grant is None and not self._is_retaining and not self._owes_release
        return self._settings.standby == "unregistered" and is_idle

    async def _stand_by(self) -> None:
        """A host that holds nothing keeps its registrations, or not, as configured."""
        if self._keeps_nothing:
            await self.registrar.unregister_all()

    def _refusal(self, end: End, request: str, state: ReserveState | None) -> OpenRefused:
        reservation = reservation_snapshot(state, self._settings.key)
        if reservation.owner == "theirs":
            what = f"reserved by key {reservation.holder} ({reservation.type})"
            hint = "close it on that host, or take it over with a forced open"
        else:
            what = f"{request} refused ({failures_of(self._underpaths) or 'by the array'})"
            hint = "see 'mpio-fuse status' for its underpaths"
        return OpenRefused(what, ERRNOS[end], lun=self._lun, hint=hint)

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
            self._owes_release = False
            self._retention = None
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


def _is_quiet(underpath: Underpath) -> bool:
    """Whether no data command of ours can still come out of this underpath."""
    is_barred_ghost = underpath.epoch > 0 and underpath.transport.stranded > 0
    return not (underpath.in_flight or underpath.has_lost_write or is_barred_ghost)
