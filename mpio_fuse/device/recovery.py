"""Between two attempts of a command: is the device still ours, and is the lost command dead.

Theory of operation
-------------------
*Suspicion.*  A conflict or a unit attention on one underpath can mean that this nexus alone lost its registration (a
new session), or that another host has taken the device.  Only the array knows, so keys and reservation are read,
once for all underpaths that are marked.  Ours: the nexus is registered again, behind the closed gate, and the state
is read once more, because another host may have preempted us in between; if it has, the registration is undone.
Not ours: the grant is fenced, for good.  Nothing else here registers anything for a grant.  A mark goes only
after the look has told something.

A look that finds everything ours proves nothing of the moment after it: another host can preempt us, write, release
and be gone before we register again, which would let an old handle back in.  A reservation of ours that still stands
proves that nobody did.  Without one it is asked after registering whether nobody has come in between: a sibling's
registration that still stands proves it, or else the generation.

*The barrier.*  A write whose answer was lost may still be executed, on its old underpath, after it was repeated on
another, over newer data.  Before anything is written again, the array is told to abort and forget the old nexus:
Preempt And Abort of our own key from another underpath, the *keeper*.  What the old nexus still sends then meets
RESERVATION CONFLICT, and it is registered again only when its transport has given back every old command.  A
keeper speaks for all underpaths but itself: its own commands are not aborted.

That takes an array that has PREEMPT AND ABORT, registrations of each nexus, and a reservation of ours.  Where one of
these is missing, a LOGICAL UNIT RESET ends what the array has, and what this host's own layers still hold is waited
for, within a bound; a warning says so when that was not enough.

Lock order: the look's lock, then the gate.  Nobody calls either from inside the gate.
"""

import math
from collections.abc import Callable, Sequence

import structlog
import trio

from mpio_fuse.device.first_answer import PATIENCE_S, first_answer
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import MpioError, NoUsableUnderpath
from mpio_fuse.scsi.verdict import Verdict

log = structlog.get_logger(__name__)

IDLE_POLL_S = 0.05


class DeviceRecovery:
    """Examination and barrier of one device.

    Args:
        fence: ends a grant and tells everybody who must know; does not block.
        drain_timeout_s: how long the gate waits for commands under way; an underpath where some still are
            then is left out of what follows.
    """

    def __init__(
        self,
        lun: str,
        same_disk: SameDisk,
        underpaths: Sequence[Underpath],
        gate: Gate,
        registrar: Registrar,
        fence: Callable[[Grant, ReserveState], None],
        drain_timeout_s: float,
    ) -> None:
        self._lun = lun
        self._same_disk = same_disk
        self._underpaths = underpaths
        self._gate = gate
        self._registrar = registrar
        self._fence = fence
        self._drain_timeout_s = drain_timeout_s
        self._looking = trio.Lock()
        self._log = log.bind(lun=lun)

    # -- suspicion

    async def look_into(self, grant: Grant) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.  Raises `Fenced` when the device is not ours."""
        async with self._looking:
            grant.check()
            suspects = [
                (one, one.suspicion)
                for one in self._underpaths
                if one.suspicion is not None and one.needs_look
            ]
            await self._identify([one for one, _ in suspects if one.is_doubtful])
            async with self._gate.steady():
                await self.check_ours(grant)
            for underpath, suspicion in suspects:
                if suspicion.verdict is Verdict.REEXAMINE and underpath.registered:
                    await self._readmit(grant, underpath)
                if underpath.suspicion is suspicion:
                    underpath.suspicion = None

    async def _identify(self, doubtful: list[Underpath]) -> None:
        """Ask those in service who they lead to; one that hangs is not waited for while another carries data."""
        patience_s = PATIENCE_S if any(one.is_usable for one in self._underpaths) else math.inf
        async with trio.open_nursery() as nursery:
            for underpath in doubtful:
                if underpath.is_in_service:
                    nursery.start_soon(self._same_disk.check, underpath, patience_s)

    async def look(self, grant: Grant) -> None:
        """As `check_ours`, while nobody changes registrations."""
        async with self._looking, self._gate.steady():
            await self.check_ours(grant)

    async def check_ours(self, grant: Grant) -> ReserveState:
        """Read keys and reservation; fence the grant and raise when they are not ours any more."""
        state = await self._registrar.read_state()
        if not is_ours(grant, state, self._registrar):
            self._fence(grant, state)
        grant.check()
        return state

    async def readmit(self, grant: Grant, underpath: Underpath) -> bool:
        """Let in an underpath that is not in use; whether it carries data now.  I/O goes on over the others meanwhile.

        Whatever answers checks may still hang on REGISTER, and must not hold up what runs without it.  Nothing can be
        sent there before it is admitted, so the gate need not be closed; but where a registration is the host's, it
        would let in what is under way on the others.
        """
        if self._registrar.is_per_initiator:
            return await self._readmit(grant, underpath)
        underpath.is_being_admitted = True
        try:
            return await self.admit(grant, underpath, is_gated=False)
        finally:
            underpath.is_being_admitted = False

    async def _readmit(self, grant: Grant, underpath: Underpath) -> bool:
        """Register a nexus again for a grant that was found ours a moment ago."""
        async with self._gate.closed(self._drain_timeout_s):
            return await self.admit(grant, underpath)

    async def admit(self, grant: Grant, underpath: Underpath, *, is_gated: bool = True) -> bool:
        """Check, register, check; whether the underpath is usable now.

        Without the gate closed the caller keeps data away from it, and whoever closes the gate in between, to bar it,
        comes first.
        """
        before = await self.check_ours(grant)
        epoch = underpath.epoch
        if not await self._registrar.register(underpath, ignore_existing=True):
            return False
        told = underpath.suspicion  # by the registration: our own preempt, most often
        if not await self._same_disk.has_our_size(underpath):
            return False
        try:
            after = await self.check_ours(grant)
            if not await self._is_unbroken(grant, underpath, before, after, is_gated=is_gated):
                self._fence(grant, after)
            grant.check()
        except MpioError:
            # Preempted in between: this registration must not let anything of ours in.
            await self._registrar.unregister(underpath)
            raise
        if underpath.epoch != epoch or not underpath.registered:
            underpath.registered = False  # a barrier in between may have removed it at the array
            return False
        if told is not None and told.verdict is Verdict.REEXAMINE and underpath.suspicion is told:
            underpath.suspicion = None
        self._log.info("underpath registered again", underpath=underpath.name)
        return True

    async def _is_unbroken(
        self,
        grant: Grant,
        underpath: Underpath,
        before: ReserveState,
        after: ReserveState,
        *,
        is_gated: bool,
    ) -> bool:
        """Whether nobody preempted us between the two looks, which ``underpath`` was registered between.

        A reservation of ours that still stands shows it.  Our own REGISTER AND IGNORE raises the generation by one, or
        on some arrays not at all.
        """
        if grant.is_reserving:
            return True
        if is_gated:
            is_confirmed = await self._is_confirmed_beside(underpath)
        else:
            async with self._gate.closed(0):  # what is being confirmed counts as unregistered
                is_confirmed = await self._is_confirmed_beside(underpath)
        acted = (after.reservation.generation - before.reservation.generation) % (1 << 32)
        return is_confirmed or acted <= 1

    async def _is_confirmed_beside(self, underpath: Underpath) -> bool:
        """Whether a sibling's registration still stands."""

        async def confirm(sibling: Underpath) -> bool | None:
            return await self._registrar.confirm(sibling) or None

        siblings = [one for one in self._underpaths if one.registered and one is not underpath]
        siblings.sort(key=lambda one: not one.is_usable)
        return bool(await first_answer(siblings, confirm, PATIENCE_S))

    # -- the barrier

    async def bar(self, grant: Grant) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.

        Raises:
            Fenced: the device is not ours any more.
            NoUsableUnderpath: nothing is left to put the barrier up with, or the array refused it.
        """
        async with self._gate.closed(self._drain_timeout_s):
            grant.check()
            if not grant.is_reserving or self._registrar.is_per_initiator:
                await self._bar_by_reset(grant)
            else:
                await self._bar_by_preempt(grant)

    async def _bar_by_preempt(self, grant: Grant) -> None:
        for _ in self._underpaths:  # each round settles every underpath but its keeper
            lost = [one for one in self._underpaths if one.has_lost_write]
            if not lost:
                return
            keeper = await self._put_up(grant, lost)
            await self._settle(lost, keeper)
            await self._readmit_others(grant, keeper)

    async def _put_up(self, grant: Grant, lost: list[Underpath]) -> Underpath:
        """Preempt And Abort our own key; who did it.  A second try when it had lost its registration by then."""
        for keeper in self._keepers(lost):
            if await self._registrar.move_to(keeper) or (
                await self.admit(grant, keeper) and await self._registrar.move_to(keeper)
            ):
                await self._abort_what_is_owed(lost)
                await self.check_ours(grant)
                return keeper
        raise self._no_barrier(lost)

    async def _abort_what_is_owed(self, lost: list[Underpath]) -> None:
        if self._registrar.owes_abort and not await self.drop_all_commands():
            raise self._no_barrier(lost)

    def _no_barrier(self, lost: list[Underpath]) -> NoUsableUnderpath:
        names = ", ".join(one.name for one in lost)
        return NoUsableUnderpath(
            f"a write was lost on {names}, and no other underpath could make sure that it is dead",
            lun=self._lun,
            hint="nothing is written before that; see 'mpio-fuse status'",
        )

    def _keepers(self, lost: list[Underpath]) -> list[Underpath]:
        """Who can speak for the others: usable, with nothing of its own under way; the unsuspected first."""
        usable = [one for one in self._underpaths if one.is_usable and one.is_idle]
        return sorted(usable, key=lambda one: (one in lost, one.index))

    async def _settle(self, lost: list[Underpath], keeper: Underpath) -> None:
        for underpath in self._underpaths:
            if underpath is not keeper:
                underpath.epoch += 1
                underpath.has_lost_write = False
        if lost == [keeper]:
            # Nobody else can speak for it.  Its transport has given the command back; the array may still have it.
            if not await self.drop_all_commands():
                self._log.warning("a lost write could not be proven dead", underpath=keeper.name)
            keeper.has_lost_write = False
        self._log.info("barrier", lost=[one.name for one in lost], keeper=keeper.name)

    async def _readmit_others(self, grant: Grant, keeper: Underpath) -> None:
        """Those in service; one that hangs now has no time to hold the others up."""
        errors: list[MpioError] = []

        async def admit(underpath: Underpath) -> bool:
            try:
                return await self.admit(grant, underpath)
            except MpioError as error:
                errors.append(error)
                return False

        others = [one for one in self._underpaths if one is not keeper and one.is_in_service]
        await self._registrar.each([one for one in others if not one.is_being_admitted], admit)
        if errors:
            raise errors[0]

    async def _bar_by_reset(self, grant: Grant) -> None:
        """The array drops what it has; what this host's layers still hold cannot be barred, and is waited for."""
        lost = [one for one in self._underpaths if one.has_lost_write]
        is_dropped = await self.drop_all_commands()
        with trio.move_on_after(self._drain_timeout_s):
            while not all(one.is_idle for one in lost):  # noqa: ASYNC110 - transports tell nobody of it
                await trio.sleep(IDLE_POLL_S)
        if grant.is_reserving and not all(one.is_idle for one in lost):
            raise self._no_barrier(lost)  # a nexus of ours: the reservation would let it in
        for underpath in lost:
            if not is_dropped or not underpath.is_idle:
                self._log.warning("a lost write could not be proven dead", underpath=underpath.name)
        for underpath in self._underpaths:
            underpath.epoch += 1
            underpath.has_lost_write = False
        self._log.info("barrier by reset", lost=[one.name for one in lost])
        await self.check_ours(grant)

    async def move_from(self, leaving: Underpath, grant: Grant | None) -> None:
        """Have another underpath hold what ``leaving`` holds, with the gate closed; it is not registered afterwards.

        Raises:
            NoUsableUnderpath: no other underpath could take it over.
        """
        for keeper in self._keepers([leaving]):
            if keeper is not leaving and await self._registrar.move_to(keeper):
                await self._abort_what_is_owed([leaving])
                await self._register_beside(keeper, leaving, grant)
                return
        raise NoUsableUnderpath(
            f"no other underpath could take over what {leaving.name} holds",
            lun=self._lun,
            hint="see 'mpio-fuse status' for what each of them says",
        )

    async def _register_beside(
        self, keeper: Underpath, leaving: Underpath, grant: Grant | None
    ) -> None:
        for other in self._underpaths:
            if other in (keeper, leaving) or not other.is_in_service:
                continue
            if grant is not None:
                await self.admit(grant, other)
            else:
                await self._registrar.register(other, ignore_existing=True)

    async def drop_all_commands(self) -> bool:
        """Reset the logical unit, with the gate closed; whether the array confirmed it.

        The attention that this leaves on our underpaths is met here: it must not pass for news.
        """
        if not await self._registrar.reset():
            return False
        async with trio.open_nursery() as nursery:
            for underpath in self._underpaths:
                if underpath.registered and underpath.is_in_service:
                    nursery.start_soon(self._meet_own_reset, underpath)
        return True

    async def _meet_own_reset(self, underpath: Underpath) -> None:
        before = underpath.suspicion
        await self._registrar.meet_attentions(underpath)
        told = underpath.suspicion
        if told is before or told is None or told.verdict is not Verdict.RECHECK_IDENTITY:
            return
        if await self._same_disk.check(underpath) and underpath.suspicion is told:
            underpath.suspicion = None


def is_ours(grant: Grant, state: ReserveState, registrar: Registrar) -> bool:
    """Whether what the array says still gives the grant its right."""
    if registrar.key not in state.keys:
        return False
    if grant.is_reserving:
        return state.is_held_by(registrar.key)
    return not state.reservation.is_held or state.is_held_by(registrar.key)
