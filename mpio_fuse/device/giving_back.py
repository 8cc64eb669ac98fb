"""What outlives the last close: a reservation that is retained, and a release that is owed.

Theory of operation
-------------------
A reservation is given back only when nothing of ours can land after it: no write under way, none of unknown fate, none
behind the barrier that its transport has not given back.  Otherwise the release is *owed*, and tried again with every
look, as is one that the array did not carry out, or that an open which failed midway may have to make.  What is owed is
looked up before it is paid or called impossible: whoever took the reservation has settled the debt.

Called with the device's lock held; what is said to need it, with the gate closed.
"""

import errno
from collections.abc import Sequence

import attrs
import structlog
import trio

from mpio_fuse.device.grant import Grant
from mpio_fuse.device.recovery import DeviceRecovery
from mpio_fuse.device.refusal import refusal
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.runner import Runner
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.snapshot import reservation_snapshot
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.fig12_release import release
from mpio_fuse.reserve.procedure import End

log = structlog.get_logger(__name__)

STRAGGLER_POLL_S = 0.01


@attrs.define(eq=False)
class GivingBack:
    """One device's.  ``retention`` says why the reservation is kept, ``owes`` that it is to be released."""

    _lun: str
    _underpaths: Sequence[Underpath]
    _settings: Settings
    _registrar: Registrar
    _recovery: DeviceRecovery
    retention: Retention | None = None
    owes: bool = False
    _is_half_open: bool = False

    @property
    def is_retaining(self) -> bool:
        """Whether our reservation is to outlive the last close: another host may have taken it since."""
        last = self._registrar.last_state
        is_lost = last is not None and not last.is_held_by(self._settings.key)
        return self.retention is not None and not is_lost

    def forget(self) -> None:
        """Fenced: what we held is another host's, or nobody's."""
        self.owes = self._is_half_open = False
        self.retention = None

    def note_half_open(self) -> None:
        """An open that failed or was cancelled midway may have taken a reservation that nobody has open.

        What cannot be known now (it may yet be carried out) is settled by the next `look`.
        """
        self.note_loss()
        last = self._registrar.last_state
        is_anothers = (
            last is not None
            and not self._registrar.is_outdated
            and last.reservation.is_held
            and not last.is_held_by(self._settings.key)
            and not self._registrar.owes_abort
        )
        if self.retention is None and not is_anothers:
            self.owes = self._is_half_open = True

    def note_loss(self) -> None:
        """What was retained and is another host's by now is over: what is taken later is not that."""
        if not self.is_retaining:
            self.retention = None

    async def bar(self, grant: Grant) -> None:
        """No write of ours may land once others may write."""
        if any(one.has_lost_write for one in self._underpaths):
            try:
                await self._recovery.bar(grant)
            except MpioError as error:
                log.info("lost writes not settled", lun=self._lun, cause=str(error))

    async def settle(self) -> None:
        """Put up the barrier where a reservation of ours may be given up (gate open)."""
        if not any(one.has_lost_write for one in self._underpaths):
            return
        try:
            is_ours = (await self._registrar.read_state()).is_held_by(self._settings.key)
        except NoUsableUnderpath:
            return
        if is_ours:
            await self.bar(Grant(self._lun, is_reserving=True))

    async def require_quiet(self) -> None:
        """Before an open that would give the reservation up: nothing of ours may land after it.

        Raises:
            OpenRefused: EBUSY, old writes are still out, and the reservation is what keeps others' data from them.
        """
        if not all(_is_quiet(one) for one in self._underpaths) and await self._may_hold():
            what = "old writes are still out, and could land once the reservation is given up"
            raise OpenRefused(what, errno.EBUSY, lun=self._lun, hint="try again in a while")

    async def release_owed(self) -> None:
        """Figure 12 (gate closed), now if that is safe; otherwise it stays owed, and the next look tries again.

        A write that is still out, even behind the barrier, could land once nobody holds the reservation.
        """
        if self.owes and not await self._may_hold():
            if self._may_hold_later():
                return
            self.owes = False
        retain = self.retention is not None
        if self.owes and not all(_is_quiet(one) for one in self._underpaths):
            log.warning("release postponed", lun=self._lun, cause="old writes are still out")
            return
        if self.owes:
            await self._register_to_release()
        end = await Runner(self._registrar).run(release(reserved=self.owes, retain=retain))
        state = self._registrar.last_state
        is_ours_still = state is None or state.is_held_by(self._settings.key)
        self.owes = self.owes and (end is not End.CLOSED or is_ours_still)

    def _may_hold_later(self) -> bool:
        """Whether the RESERVE of an open that broke off may still be under way: what is read now tells nothing then."""
        is_under_way = any(one.transport.stranded for one in self._underpaths)
        self._is_half_open = self._is_half_open and is_under_way
        return self._is_half_open

    async def _may_hold(self) -> bool:
        """Whether the reservation is ours, or nobody can tell."""
        try:
            return (await self._registrar.read_state()).is_held_by(self._settings.key)
        except NoUsableUnderpath:
            return True

    async def _register_to_release(self) -> None:
        """Nobody can release without a registration; a session that began anew may have none."""
        try:
            state = await self._registrar.read_state()
        except NoUsableUnderpath:
            return
        is_speechless = not any(one.registered and one.is_usable for one in self._underpaths)
        if is_speechless and state.is_held_by(self._settings.key):
            await self._registrar.register_all()

    async def release_retained(self) -> None:
        """Give up a reservation that outlived its last close (gate closed).

        Raises:
            OpenRefused: EIO, it is still ours afterwards.
            MpioError: the reservation is not ours, or no underpath answers.
        """
        state = await self._registrar.read_state()
        if not state.is_held_by(self._settings.key):
            self.retention = None
            raise self._nothing_to_release(state)
        if not all(_is_quiet(one) for one in self._underpaths):
            what = "not released: old writes are still out, and could land once others may write"
            raise OpenRefused(what, errno.EIO, lun=self._lun, hint="try again in a while")
        if not any(one.registered for one in self._underpaths):
            await self._registrar.register_all()
        await Runner(self._registrar).run(release(reserved=True, retain=False))
        state = await self._registrar.read_state()
        if state.is_held_by(self._settings.key):
            raise refusal(
                self._lun, self._settings.key, self._underpaths, End.EIO, "release", state
            )
        self.retention = None
        log.info("retained reservation released", lun=self._lun)

    def _nothing_to_release(self, state: ReserveState) -> MpioError:
        held = reservation_snapshot(state, self._settings.key)
        who = f"reserved by key {held.holder} ({held.type})" if held.holder else "nobody holds it"
        return MpioError(f"this host holds no reservation to release: {who}", lun=self._lun)

    async def look_at_retained(self) -> None:
        """See whether the array still has what is to be retained; if nobody answers, it is taken for true."""
        if self.retention is not None:
            try:
                await self._registrar.read_state()
            except NoUsableUnderpath as error:
                log.info("state unknown", lun=self._lun, cause=str(error))

    async def await_stragglers(self) -> None:
        """Answers that are only just on their way need not keep the reservation at the array."""
        with trio.move_on_after(self._settings.control_timeout_s):
            # Transports tell nobody when they give a command back.
            while self.owes and not all(one.is_idle for one in self._underpaths):  # noqa: ASYNC110
                await trio.sleep(STRAGGLER_POLL_S)


def _is_quiet(underpath: Underpath) -> bool:
    """Whether no data command of ours can still come out of this underpath."""
    is_barred_ghost = underpath.epoch > 0 and underpath.transport.stranded > 0
    return not (underpath.in_flight or underpath.has_lost_write or is_barred_ghost)
