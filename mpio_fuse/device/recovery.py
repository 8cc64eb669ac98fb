"""Between two attempts of a command: is the device still ours, and is the lost command dead.

Theory of operation
-------------------
*Examination.*  A conflict or a unit attention on one underpath can mean that this nexus alone lost its registration (a
new session), or that another host has taken the device.  Only the array knows, so keys and reservation are read,
once for all commands that failed before the reading began.  Ours: the nexus is registered again, behind the
closed gate, and the state is read once more, because another host may have preempted us in between; if it has, the
registration is undone.  Not ours: the grant is fenced, for good.  Nothing else here registers anything for a grant.

*The barrier.*  A write whose answer was lost may still be executed, on its old underpath, after it was repeated on
another, over newer data.  Before it is repeated, the array is told to abort and forget the old nexus: Preempt And
Abort of our own key from a live underpath.  What the old nexus still sends then meets RESERVATION CONFLICT, and it
is registered again only when its transport has given back every old command.

Lock order: the examination's lock, then the gate.  Nobody calls either from inside the gate.
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
        self._examining = trio.Lock()
        self._begun = 0
        self._log = log.bind(lun=lun)

    def clock(self) -> int:
        """How many examinations have begun."""
        return self._begun

    # -- examination

    async def examine(
        self, grant: Grant, underpath: Underpath, verdict: Verdict, seen: int
    ) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.  Raises `Fenced` when the device is not ours."""
        async with self._examining:
            grant.check()
            if self._begun > seen and underpath.is_usable and verdict is Verdict.REEXAMINE:
                return  # an examination that began after this failure has registered it again
            self._begun += 1
            if verdict is Verdict.RECHECK_IDENTITY and not await self.is_same_disk(underpath):
                return
            await self.check_ours(grant)
            if verdict is Verdict.REEXAMINE and underpath.is_usable:
                await self._readmit(grant, underpath)

    async def look_into(self, grant: Grant, suspects: Sequence[Underpath]) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.  A suspicion stays until the look has told something."""
        async with self._examining:
            grant.check()
            self._begun += 1
            before = [(one, one.suspicion) for one in suspects]
            for underpath, suspicion in before:
                if suspicion is Verdict.RECHECK_IDENTITY:
                    await self.is_same_disk(underpath)
            await self.check_ours(grant)
            for underpath, suspicion in before:
                if underpath.suspicion is suspicion:
                    underpath.suspicion = None

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
        try:
            await self.check_ours(grant)
        except MpioError:
            # Preempted in between: this registration must not let anything of ours in.
            await self._registrar.unregister(underpath)
            raise
        self._log.info("underpath registered again", underpath=underpath.name)
        return True

    # -- the barrier

    async def bar(self, grant: Grant, underpath: Underpath, epoch: int) -> None:
        """See `mpio_fuse.device.data_path.Recovery`.

        Raises:
            Fenced: the device is not ours any more.
            NoUsableUnderpath: nothing is left to send the barrier on, or the array refused it.
        """
        async with self._gate.closed(self._drain_timeout_s):
            if underpath.epoch != epoch:
                return  # another lost command's barrier covered this one
            grant.check()
            keeper = await self._move_away_from(underpath)
            await self.check_ours_after_move(grant, keeper)
            for other in self._underpaths:
                other.epoch += 1
                if other not in (underpath, keeper) and other.state is UnderpathState.UP:
                    await self._registrar.register(other, ignore_existing=True)
            await self.check_ours(grant)
            self._log.info("barrier", underpath=underpath.name, keeper=keeper.name)

    async def check_ours_after_move(self, grant: Grant, keeper: Underpath) -> None:
        """As `check_ours`; without a holder some targets delete the sender's registration too, so it is renewed."""
        if not grant.is_reserving:
            await self._registrar.register(keeper, ignore_existing=True)
        await self.check_ours(grant)

    async def _move_away_from(self, dead: Underpath) -> Underpath:
        live = [one for one in self._underpaths if one.is_usable and one is not dead]
        for keeper in live:
            if await self._registrar.move_to(keeper):
                return keeper
        raise NoUsableUnderpath(
            f"a write was lost on {dead.name}, and no other underpath could make sure that it is dead",
            lun=self._lun,
            hint="the range of that write is undefined; see 'mpio-fuse status'",
        )


def is_ours(grant: Grant, state: ReserveState, registrar: Registrar) -> bool:
    """Whether what the array says still gives the grant its right."""
    if registrar.key not in state.keys:
        return False
    if grant.is_reserving:
        return state.is_held_by(registrar.key)
    return not state.reservation.is_held or state.is_held_by(registrar.key)
