"""The pseudo device: all underpaths of one logical unit, and who has it open.

Theory of operation
-------------------
* Opens, closes and what else changes whose the logical unit is run one at a time (``_changing``).  What they mean at
  the array is the ownership's business (`mpio_fuse.device.ownership`), which also closes the I/O gate for them.
* A data command leaves only with a `Grant` that stands.  Handles share the grant of the open that won it; the last
  close of a grant gives it up.  A fenced grant is over at once, whatever handles it still has.
"""

import errno
import time
import zlib
from collections.abc import Callable, Sequence

import structlog
import trio

from mpio_fuse.device.bounds import change_s
from mpio_fuse.device.checks import Checks
from mpio_fuse.device.condition.state import IN_SERVICE, Change, Service
from mpio_fuse.device.condition.underpath_health import UnderpathHealth
from mpio_fuse.device.data_path import DataPath
from mpio_fuse.device.first_answer import PATIENCE_S, first_answer
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.geometry import Geometry, agreed, learn_geometry, told_capacities
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.handle import Handle
from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.no_path import NoPath
from mpio_fuse.device.outages import Outages
from mpio_fuse.device.persistent_ownership import PersistentOwnership
from mpio_fuse.device.port_groups import PortGroupReader
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.reaction import Look
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.selection.selection import Selection
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.single_path import SinglePath
from mpio_fuse.device.snapshot import DeviceSnapshot, failback_text, underpath_snapshot
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption, check_options
from mpio_fuse.reserve.local import check_local
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.transport.contract import Transport

log = structlog.get_logger(__name__)

IDLE_POLL_S = 0.01


class PseudoDevice:
    """One shared disk.

    Args:
        logical_unit: what discovery found.
        transports: one for each underpath, open; the device closes them in `remove`.
        settings: this host's key, and times.
        name: what users call it; the WWID unless configured otherwise.
        on_fenced: called when a grant has been fenced; must not block.
        clock: Unix time, for what people are told; nothing is decided by it.
    """

    def __init__(
        self,
        logical_unit: LogicalUnit,
        transports: Sequence[Transport],
        settings: Settings,
        name: str | None = None,
        on_fenced: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.logical_unit = logical_unit
        self.name = name or str(logical_unit.wwid)
        self.settings = settings
        self.on_fenced = on_fenced
        self.underpaths = [
            self._make_underpath(index, transport) for index, transport in enumerate(transports)
        ]
        """Shared with all that speak to the array.  Changed by `add_underpath` and `remove_underpath` alone."""
        self._handles: list[Handle] = []
        self._closing: dict[Handle, trio.Event] = {}
        """Handles on their way out, which still hold their grant."""
        self._geometry: Geometry | None = None
        self._is_removed = False
        self._change_s = change_s(settings)
        self._changing = trio.Lock()
        self._log = log.bind(lun=self.name)
        gate = self._gate = Gate(self._hung)
        self._same_disk = SameDisk(
            logical_unit.wwid,
            logical_unit.capacity,
            settings.control_timeout_s,
            self.note_attention,
        )
        rules, timeout_s = settings.underpaths, settings.control_timeout_s
        self.checks = Checks(
            self.name,
            self.underpaths,
            rules,
            timeout_s,
            self.note_attention,
            lambda: self.block_size_bytes,
            self.readmit,
            {Look.CAPACITY: self._look_at_size, Look.PORT_GROUPS: self._look_at_port_groups},
        )
        kind = PersistentOwnership if logical_unit.has_persistent_reserve else SinglePath
        self._ownership: PersistentOwnership | SinglePath = kind(
            self.name,
            self._same_disk,
            self.underpaths,
            settings,
            gate,
            self._tell_fenced,
            clock,
            self.checks.check_doubtful,
        )
        self._selection = Selection(rules.selection)
        no_path = NoPath(rules.no_path_timeout_s, rules.no_path_requests, recheck_s=timeout_s)
        self._port_groups = PortGroupReader(
            self.name, self.underpaths, timeout_s, self.note_attention
        )
        self._outages = Outages(no_path, self.checks.check_all)
        self.data = DataPath(
            self.name,
            self.underpaths,
            gate,
            self._selection,
            self._ownership.recovery,
            self._outages,
            self.checks,
            settings,
        )

    # -- facts

    @property
    def geometry(self) -> Geometry:
        """Size and transfer limits.

        Raises:
            NoUsableUnderpath: the capacity is not known yet.
        """
        if self._geometry is None:
            raise NoUsableUnderpath("its size could not be read yet", lun=self.name)
        return self._geometry

    @property
    def size_bytes(self) -> int:
        """The size of the file; 0 while it is not known."""
        return self._geometry.size_bytes if self._geometry else 0

    @property
    def block_size_bytes(self) -> int:
        """The logical block size; 0 while it is not known."""
        return self._geometry.block_size_bytes if self._geometry else 0

    @property
    def is_open(self) -> bool:
        """Whether a handle has a grant that stands."""
        return self._ownership.grant is not None

    @property
    def reader(self) -> ReserveReader:
        """Asks the array for people, over the underpaths that are there."""
        there = [one for one in self.underpaths if one.state is not UnderpathState.REMOVED]
        there.sort(key=lambda one: not one.is_usable)
        timeout_s = self.settings.control_timeout_s
        return ReserveReader(self.name, there, timeout_s, self.note_attention)

    async def situation(self) -> Situation:
        """What an open would find now; sends PERSISTENT RESERVE IN alone."""
        async with self._changing:
            return await self._ownership.situation(tuple(self._standing_opens()))

    def snapshot(self) -> DeviceSnapshot:
        """The state as it is known; sends nothing and never waits."""
        ownership, now_s = self._ownership, trio.current_time()
        rules = self.settings.underpaths.selection
        return DeviceSnapshot(
            name=self.name,
            wwid=str(self.logical_unit.wwid),
            size_bytes=self.size_bytes,
            block_size_bytes=self.block_size_bytes,
            key=self.settings.key,
            reservation=ownership.reservation(),
            retention=ownership.retention(),
            opens=tuple(
                f"{handle.options}{' (fenced)' if handle.grant.is_fenced else ''}"
                for handle in self._handles
            ),
            underpaths=tuple(
                underpath_snapshot(
                    one,
                    now_s,
                    is_holder=ownership.is_holder(one),
                    is_in_group_in_use=self._selection.is_in_use(one),
                )
                for one in self.underpaths
            ),
            selector=rules.selector.value,
            failback=failback_text(rules.failback),
        )

    # -- coming and going

    async def configure(self) -> None:
        """Make the underpaths ready, then learn the size, which some targets tell only to registrants.

        Raises:
            NoUsableUnderpath: not one underpath can be used.
        """
        async with self._changing:
            await self._ownership.configure()
            await self._learn_geometry_at_first()
            await self._ownership.stand_by()
            await self._look_at_port_groups()

    async def remove(self) -> None:
        """What is still open is closed, what we have at the array taken back, the transports closed.

        Raises:
            MpioError: something of ours is left at the array; all else is done.
        """
        with trio.CancelScope(shield=True):
            self.stop_waiting()
            for handle in list(self._handles):
                await handle.aclose()
            await self._await_closes()
            async with self._changing:
                self._is_removed = True
                left = f"whatever could not be taken back within {self._change_s:g} s"
                with trio.move_on_after(self._change_s):
                    left = await self._ownership.withdraw()
            for underpath in self.underpaths:
                await underpath.transport.aclose()
        if left:
            what = f"left at the array: {left}"
            hint = "once its underpaths answer mount it, 'mpio-fuse release' it, and unmount it"
            raise MpioError(what, lun=self.name, hint=hint)

    async def add_underpath(self, transport: Transport) -> Underpath:
        """Take another way to this logical unit into service: registered first, then used.

        The transport is the device's from here on.  One of that name that is out of service for good makes way.

        Raises:
            MpioError: it leads elsewhere, is here already, or cannot be registered; the transport is closed then.
        """
        async with self._changing:
            index = 1 + max((one.index for one in self.underpaths), default=-1)
            underpath = self._make_underpath(index, transport)
            try:
                await self._require_new(underpath)
                self.underpaths.append(underpath)
                if not await self._ownership.readmit(underpath) and self.is_open:
                    raise MpioError(underpath.last_failure, lun=self.name, underpath=underpath.name)
            except BaseException:
                if underpath in self.underpaths:
                    self.underpaths.remove(underpath)
                with trio.CancelScope(shield=True):
                    await transport.aclose()
                raise
            self._log.info("underpath added", underpath=underpath.name)
            return underpath

    async def _require_new(self, underpath: Underpath) -> None:
        name = underpath.name
        for one in [one for one in self.underpaths if one.name == name]:
            if self._is_removed or one.state is not UnderpathState.REMOVED:
                raise MpioError("is an underpath already", lun=self.name, underpath=name)
            await self._forget(one)
        if not await self._same_disk.check(underpath):
            raise MpioError(underpath.last_failure, lun=self.name, underpath=name)

    async def remove_underpath(self, name: str) -> None:
        """Take an underpath out for good: the reservation moves to another first, then its registration goes.

        Raises:
            MpioError: there is none of that name, or it is the last of a device that is open.
        """
        async with self._changing:
            underpath = self.underpath(name)
            others = [one for one in self.underpaths if one is not underpath and one.is_usable]
            if len(self.underpaths) == 1 or (self.is_open and not others and underpath.is_usable):
                hint = "close what has it open, or unmount"
                raise MpioError(
                    "the last usable underpath", lun=self.name, underpath=name, hint=hint
                )
            with trio.CancelScope(shield=True):
                if underpath.state is not UnderpathState.REMOVED or others:
                    await self._ownership.retire(underpath)
                await self._forget(underpath)
            self._log.info("underpath removed on request", underpath=name)

    async def fail_underpath(self, name: str) -> None:
        """Take an underpath out of service until `reinstate_underpath`; what it holds moves to another.

        Its registration goes too, unless commands under way there do not end.

        Raises:
            MpioError: there is none of that name, it is gone, or it is the last of a device that is open.
        """
        async with self._changing:
            underpath = self.underpath(name)
            if underpath.state is UnderpathState.REMOVED:
                raise MpioError("its node is gone", lun=self.name, underpath=name)
            if self.is_open and underpath.is_usable and not self._usable_beside(underpath):
                hint = "close what has it open, or unmount"
                what = "the last usable underpath"
                raise MpioError(what, lun=self.name, underpath=name, hint=hint)
            underpath.note(underpath.health.fail(trio.current_time()))
            with trio.move_on_after(self.settings.control_timeout_s):
                while underpath.in_flight:  # noqa: ASYNC110 - nobody tells of each command
                    await trio.sleep(IDLE_POLL_S)
            try:
                await self._ownership.retire(underpath)
            except MpioError as error:
                self._log.info("registration left", underpath=name, cause=str(error))

    async def reinstate_underpath(self, name: str) -> None:
        """Have an underpath checked now and let in again, without hold-down, and its group gone back to.

        Raises:
            MpioError: there is none of that name, it is gone, or it is not back in service.
        """
        underpath = self.underpath(name)
        underpath.note(underpath.health.reinstate(trio.current_time()))
        self._selection.go_back()
        await self.checks.check_one(underpath)
        if not underpath.is_in_service:
            what = f"not back in service ({underpath.last_failure or underpath.state.value})"
            hint = "it is checked again by itself; see 'mpio-fuse status'"
            if underpath.state is UnderpathState.REMOVED:
                hint = "'mpio-fuse underpath add' takes its node in once it is there"
            raise MpioError(what, lun=self.name, underpath=name, hint=hint)

    def _usable_beside(self, underpath: Underpath) -> list[Underpath]:
        return [one for one in self.underpaths if one is not underpath and one.is_usable]

    async def _forget(self, underpath: Underpath) -> None:
        self.underpaths.remove(underpath)
        await underpath.transport.aclose()

    def underpath(self, name: str) -> Underpath:
        """The underpath of that name.

        Raises:
            MpioError: there is none.
        """
        for one in self.underpaths:
            if one.name == name:
                return one
        names = ", ".join(one.name for one in self.underpaths)
        raise MpioError("no such underpath", lun=self.name, underpath=name, hint=f"it has {names}")

    async def readmit(self, underpath: Underpath) -> bool:
        """Let an underpath that answers again back in, if it may be; whether it carries data now.

        Raises:
            MpioError: the state could not be read, or (`Fenced`) the device is not ours any more.
        """
        async with self._changing:
            return underpath.is_usable or await self._ownership.readmit(underpath)

    async def look(self) -> None:
        """See what the array says now; fences handles whose grant is over, and finishes a release that is owed.

        Raises:
            MpioError: nobody answers, or (`Fenced`) it is not ours any more.
        """
        if self.is_open:
            await self._ownership.look()
        else:
            async with self._changing:
                await self._ownership.look()
        await self._look_at_size()

    async def _look_at_size(self) -> None:
        """A resize need not be announced, so one underpath is asked now and then, and all when it tells a new one."""
        known = self._same_disk.capacity
        usable = [one for one in self.underpaths if one.is_usable]
        if known is None or not usable:
            return
        told = await first_answer(
            usable, lambda one: self._prober(one).capacity_if_told(), PATIENCE_S
        )
        if told is not None and told.size_bytes != known.size_bytes:
            async with self._changing:
                await self._follow_size()

    async def _look_at_port_groups(self) -> None:
        await self._port_groups.read()
        self.checks.ring()

    async def release_retained(self) -> None:
        """Give up a reservation that was retained, or found ours: as if its last close came now.

        Raises:
            OpenRefused: EBUSY, a handle relies on it; EIO, it is still ours afterwards.
            MpioError: the reservation is not ours, or no underpath answers.
        """
        async with self._changing:
            if self.is_open:
                hint = "the last close releases it, unless it was opened to retain it"
                raise OpenRefused("open on this host", errno.EBUSY, lun=self.name, hint=hint)
            await self._ownership.release_retained()

    # -- open and close

    async def open(self, options: OpenOption = OpenOption.DEFAULT) -> Handle:
        """Run the procedure that the options choose (Figure 7).

        Raises:
            UsageError: the options contradict each other.
            OpenRefused: the procedure ended in an error, or another handle of this host excludes this one.
        """
        check_options(options)
        await self._await_closes()
        async with self._changing:
            if self._is_removed:
                raise OpenRefused("not served any more", errno.EIO, lun=self.name)
            check_local(self.name, options, self._standing_opens())
            with trio.move_on_after(self._change_s) as scope:
                grant = await self._win(options)
                await self._learn_geometry_for(grant)
            if scope.cancelled_caught:
                what = f"open with {options}: not done within {self._change_s:g} s"
                hint = "see 'mpio-fuse status' for its underpaths"
                raise OpenRefused(what, errno.EIO, lun=self.name, hint=hint)
            handle = Handle(self, grant, options)
            self._handles.append(handle)
            self._log.info("opened", options=str(options), opens=len(self._handles))
            return handle

    async def _win(self, options: OpenOption) -> Grant:
        """The ownership's open; once more when it failed because the disk was resized meanwhile."""
        try:
            return await self._ownership.open(options)
        except OpenRefused:
            is_resized = any(one.has_another_size for one in self.underpaths)
            if self.is_open or not is_resized or not await self._follow_size():
                raise
        return await self._ownership.open(options)

    async def _learn_geometry_at_first(self) -> None:
        """Under some reservations the array tells it to the holder alone: then the first open learns it."""
        try:
            await self._learn_geometry()
        except NoUsableUnderpath:
            if self._ownership.reservation().owner != "theirs":
                raise
            self._log.info("size unknown while another host has it reserved")

    async def _learn_geometry_for(self, grant: Grant) -> None:
        """A grant that nothing can be done with must not outlive the open that won it."""
        try:
            if self._geometry is None:
                await self._learn_geometry()
        except BaseException:
            if not self._is_used(grant):
                with trio.CancelScope(shield=True):
                    await self._ownership.give_up(grant)
            raise

    async def close(self, handle: Handle) -> None:
        """What `Handle.aclose` does: when it is the last one of its grant, that is given up."""
        if handle not in self._handles:
            if handle in self._closing:
                await self._closing[handle].wait()
            return
        self._handles.remove(handle)
        ended = self._closing[handle] = trio.Event()
        self._log.info("closed", options=str(handle.options), opens=len(self._handles))
        try:
            with trio.CancelScope(shield=True):
                await self._close(handle)
        finally:
            del self._closing[handle]
            ended.set()

    async def _close(self, handle: Handle) -> None:
        """Flushing comes before the lock: it may wait for an underpath, which needs the lock to come back."""
        grant = handle.grant
        if not grant.is_fenced and not any(one.grant is grant for one in self._handles):
            try:
                await self.data.flush(grant)
            except MpioError as error:
                self._log.error("flush at the last close failed", cause=str(error))
        async with self._changing:
            others = (one for one in (*self._handles, *self._closing) if one is not handle)
            if not grant.is_fenced and not any(one.grant is grant for one in others):
                with trio.move_on_after(self._change_s) as scope:
                    await self._ownership.give_up(grant)
                if scope.cancelled_caught:
                    self._log.warning("close cut short", timeout_s=self._change_s)

    async def _await_closes(self) -> None:
        """Closes that have begun come before what is to begin now."""
        for ended in list(self._closing.values()):
            await ended.wait()

    def _is_used(self, grant: Grant) -> bool:
        return any(one.grant is grant for one in (*self._handles, *self._closing))

    def _standing_opens(self) -> list[OpenOption]:
        return [one.options for one in self._handles if not one.grant.is_fenced]

    def note_attention(self, underpath: Underpath, verdict: Verdict, what: str) -> None:
        """A unit attention or deferred error met by a control command: told once, so it must not be lost."""
        self._ownership.note_attention(underpath, verdict, what)

    # -- helpers

    def stop_waiting(self) -> None:
        """The device is about to go: requests that wait for an underpath fail at once, now and later."""
        self._outages.stop()

    def _make_underpath(self, index: int, transport: Transport) -> Underpath:
        """The first checks of many devices are spread, so that they do not fall together."""
        rules, now_s = self.settings.underpaths.health, trio.current_time()
        share = zlib.crc32(f"{self.logical_unit.wwid} {index}".encode()) / 2**32
        health = UnderpathHealth(rules, now_s, now_s + rules.check_min_s * share)
        return Underpath(index, transport, health, self._note_change, self._note_look)

    def _hung(self) -> int:
        """Commands on underpaths that failed under them."""
        return sum(one.in_flight for one in self.underpaths if not one.is_in_service)

    def _note_look(self, _underpath: Underpath, look: Look) -> None:
        self.checks.want(look)

    def _note_change(self, underpath: Underpath, change: Change) -> None:
        """The one record of a change of state; and who waits for an underpath may have one now."""
        before, after = change.before, change.after
        is_lost = before.state in IN_SERVICE and after.state not in IN_SERVICE
        is_worse = is_lost or after.is_marginal > before.is_marginal
        is_worse |= after.state is UnderpathState.REMOVED
        tell = self._log.warning if is_worse else self._log.info
        event = f"underpath {after.state.value}"
        if after.state is before.state:
            event = "underpath marginal" if after.is_marginal else "underpath not marginal"
        tell(event, underpath=underpath.name, before=before.state.value, cause=change.cause)
        if (
            underpath.is_in_service
            and before.state not in IN_SERVICE
            and self._port_groups.has_alua
        ):
            self.checks.want(Look.PORT_GROUPS)
        self.checks.ring()
        self._gate.look_again()
        if underpath.service(trio.current_time()) is not Service.NONE:
            self._outages.ring()

    def _tell_fenced(self) -> None:
        self._outages.ring()
        self.on_fenced()  # looked up now: who serves the device sets it later

    async def _learn_geometry(self) -> None:
        capacity = self._same_disk.capacity
        if capacity is None:
            registered = [one for one in self.underpaths if one.registered]
            capacity = agreed((await told_capacities(registered, self._prober)).values())
        if capacity is None:
            what = "READ CAPACITY fails on every underpath, or they disagree"
            raise NoUsableUnderpath(what, lun=self.name)
        await self._take_capacity(capacity)

    async def _take_capacity(self, capacity: Capacity) -> None:
        self._same_disk.capacity = capacity
        self._geometry = await learn_geometry(
            self.logical_unit, capacity, self.underpaths, self._prober
        )

    async def _follow_size(self) -> bool:
        """Take a new size once every underpath that tells one tells the same; whether it did.

        A clone of another size, behind a node, tells one too.  So unless every underpath has told it, those that did
        have to show that they know our registration, which no clone does; and always while it is open.  Another block
        size is never taken while it is open: the data would not fit.
        """
        known = self._same_disk.capacity
        there = [one for one in self.underpaths if one.state is not UnderpathState.REMOVED]
        answers = await told_capacities((one for one in there if one.is_idle), self._prober)
        told = agreed(answers.values())
        if known is None or told is None or told.size_bytes == known.size_bytes:
            return False
        if self.is_open and told.block_size_bytes != known.block_size_bytes:
            return False
        needs_proof = self.is_open or len(answers) < len(there)
        if needs_proof and not await self._ownership.is_recognised(list(answers)):
            return False
        for underpath in there:
            underpath.has_another_size = False
        await self._take_capacity(told)
        self._log.warning("resized", was_bytes=known.size_bytes, size_bytes=told.size_bytes)
        return True

    def _prober(self, underpath: Underpath) -> Prober:
        timeout_s = self.settings.control_timeout_s
        return Prober(underpath, timeout_s, self.note_attention)
