"""Between two attempts of a command: is the device still ours, and is the lost command dead.

Theory of operation
-------------------
*Suspicion.*  A conflict or a unit attention on one underpath can mean that this nexus alone lost its registration (a
new session), or that another host has taken the device.  Only the array knows, so keys and reservation are read,
once for all underpaths that are marked.  Ours: the nexus is registered again, behind the closed gate, and the state
is read once more, because another host may have preempted us in between; if it has, the registration is undone.
Not ours: the grant is fenced, for good.  Nothing else here registers anything for a grant.  A mark goes only
after the look has told something.

*The barrier.*  A write whose answer was lost may still be executed, on its old underpath, after it was repeated on
another, over newer data.  Before anything is written again, the array is told to abort and forget the old nexus:
Preempt And Abort of our own key from another underpath, the *keeper*.  What the old nexus still sends then meets
RESERVATION CONFLICT, and it is registered again only when its transport has given back every old command.  A
keeper speaks for all underpaths but itself: its own commands are not aborted.

Lock order: the look's lock, then the gate.  Nobody calls either from inside the gate.
"""

from collections.abc import Callable, Sequence

import structlog
import trio

from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import MpioError, NoUsableUnderpath
from mpio_fuse.scsi.identity import Wwid
from mpio_fuse.scsi.verdict import Verdict

log = structlog.get_logger(__name__)


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
        wwid: Wwid,
        underpaths: Sequence[Underpath],
        gate: Gate,
        registrar: Registrar,
        fence: Callable[[Grant, ReserveState], None],
        drain_timeout_s: float,
    ) -> None:
        self._lun = lun
        self._wwid = wwid
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
                (one, one.suspicion) for one in self._underpaths if one.suspicion is not None
            ]
            for underpath, suspicion in suspects:
                if suspicion.verdict is Verdict.RECHECK_IDENTITY:
                    await self.is_same_disk(underpath)
            async with self._gate.steady():
                await self.check_ours(grant)
            for underpath, suspicion in suspects:
                if suspicion.verdict is Verdict.REEXAMINE and underpath.registered:
                    await self._readmit(grant, underpath)
                if underpath.suspicion is suspicion:
                    underpath.suspicion = None

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

    async def is_same_disk(self, underpath: Underpath) -> bool:
        """Whether the node still leads to this logical unit; if not it is removed from service."""
        answer = await Prober(underpath, self._registrar.timeout_s).leads_to(self._wwid)
        if answer:
            return True
        underpath.registered = False
        if answer is None:
            underpath.state = UnderpathState.DOWN
            underpath.last_failure = "does not answer INQUIRY"
            return False
        underpath.state = UnderpathState.REMOVED
        underpath.last_failure = f"this node does not lead to {self._wwid} any more"
        self._log.warning(
            "underpath removed", underpath=underpath.name, cause=underpath.last_failure
        )
        return False

    async def _readmit(self, grant: Grant, underpath: Underpath) -> None:
        """Register a nexus again for a grant that was found ours a moment ago."""
        async with self._gate.closed(self._drain_timeout_s):
            await self.readmit_gated(grant, underpath)

    async def readmit_gated(self, grant: Grant, underpath: Underpath) -> bool:
        """Check, register, check; with the gate closed.  Whether the underpath is usable now."""
        await self.check_ours(grant)
        if not await self._registrar.register(underpath, ignore_existing=True):
            return False
        told = underpath.suspicion  # by the registration: our own preempt, most often
        try:
            await self.check_ours(grant)
        except MpioError:
            # Preempted in between: this registration must not let anything of ours in.
            await self._registrar.unregister(underpath)
            raise
        if told is not None and told.verdict is Verdict.REEXAMINE and underpath.suspicion is told:
            underpath.suspicion = None
        self._log.info("underpath registered again", underpath=underpath.name)
        return True

    # -- the barrier

    async def bar(self, grant: Grant) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.

        Raises:
            Fenced: the device is not ours any more.
            NoUsableUnderpath: nothing is left to put the barrier up with, or the array refused it.
        """
        async with self._gate.closed(self._drain_timeout_s):
            grant.check()
            for _ in self._underpaths:  # each round settles every underpath but its keeper
                lost = [one for one in self._underpaths if one.has_lost_write]
                if not lost:
                    return
                keeper = await self._put_up(grant, lost)
                self._settle(lost, keeper)
                await self._readmit_others(grant, keeper)

    async def _put_up(self, grant: Grant, lost: list[Underpath]) -> Underpath:
        """Preempt And Abort our own key; who did it.  A second try when it had lost its registration by then."""
        for keeper in self._keepers(lost):
            if await self._registrar.move_to(keeper) or (
                await self.readmit_gated(grant, keeper) and await self._registrar.move_to(keeper)
            ):
                if not grant.is_reserving:
                    # Without a holder some targets delete the sender's own registration too.
                    await self._registrar.register(keeper, ignore_existing=True)
                await self.check_ours(grant)
                return keeper
        names = ", ".join(one.name for one in lost)
        raise NoUsableUnderpath(
            f"a write was lost on {names}, and no other underpath could make sure that it is dead",
            lun=self._lun,
            hint="nothing is written before that; see 'mpio-fuse status'",
        )

    def _keepers(self, lost: list[Underpath]) -> list[Underpath]:
        """Who can speak for the others: usable, with nothing of its own under way; the unsuspected first."""
        usable = [one for one in self._underpaths if one.is_usable and one.is_idle]
        return sorted(usable, key=lambda one: (one in lost, one.index))

    def _settle(self, lost: list[Underpath], keeper: Underpath) -> None:
        for underpath in self._underpaths:
            if underpath is not keeper:
                underpath.epoch += 1
                underpath.has_lost_write = False
        if lost == [keeper]:
            # Nobody else could speak for it.  Its transport has given the command back, which is all there is.
            self._log.warning("a lost write could not be proven dead", underpath=keeper.name)
            keeper.has_lost_write = False
        self._log.info("barrier", lost=[one.name for one in lost], keeper=keeper.name)

    async def _readmit_others(self, grant: Grant, keeper: Underpath) -> None:
        for other in self._underpaths:
            if other is not keeper and other.state is UnderpathState.UP:
                await self.readmit_gated(grant, other)


def is_ours(grant: Grant, state: ReserveState, registrar: Registrar) -> bool:
    """Whether what the array says still gives the grant its right."""
    if registrar.key not in state.keys:
        return False
    if grant.is_reserving:
        return state.is_held_by(registrar.key)
    return not state.reservation.is_held or state.is_held_by(registrar.key)
