"""The pseudo device: all underpaths of one logical unit, and who has it open.

Theory of operation
-------------------
Type 6 lets every registrant in, also a host that has only registered.  So the device itself is the gate-keeper: a data
command leaves only with a `Grant`, and a grant comes only from an open whose procedure ended well.

* Opens, closes and what else changes the device's state run one at a time (``_changing``).
* An open runs with the I/O gate closed.  It registers all underpaths again, and if another host has preempted us
  meanwhile, that would let our older handles in under the other host's reservation.  So whatever the
  procedure finds is applied to the older grant, by fencing it, before the gate opens.
* The reservation is taken by the first reserving open, shared by later ones, released by the last close, and kept by
  that close when an open asked to retain it.
* A fenced grant stays fenced.  Its handles are no longer among the device's opens; a new open starts afresh.
"""

import errno
import time
from collections.abc import Callable, Sequence

import attrs
import structlog
import trio

from mpio_fuse.device.data_path import Buffer, DataPath, Geometry
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.recovery import DeviceRecovery, is_ours
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.runner import Runner
from mpio_fuse.device.selector import RoundRobin
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.shared_key import other_users_of
from mpio_fuse.device.situation import read_situation
from mpio_fuse.device.snapshot import DeviceSnapshot, reservation_snapshot, underpath_snapshot
from mpio_fuse.device.underpath import Suspicion, Underpath, UnderpathState
from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.fig05_register import register
from mpio_fuse.reserve.fig06_unregister import unregister
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from mpio_fuse.reserve.fig12_release import release
from mpio_fuse.reserve.local import check_local
from mpio_fuse.reserve.procedure import ERRNOS, End, Outcome, Procedure
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.transport.contract import Transport

log = structlog.get_logger(__name__)

DEFAULT_MAX_TRANSFER_BYTES = 1 << 20


class Handle:
    """One open of a device.  Made by `PseudoDevice.open` only."""

    def __init__(self, device: "PseudoDevice", grant: Grant, options: OpenOption) -> None:
        self._device = device
        self.grant = grant
        self.options = options
        self._lost_writes = grant.lost_writes

    @property
    def owns_reservation(self) -> bool:
        """Whether nobody else can write while this handle is good, so that its data may be cached."""
        return OpenOption.NO_RESERVE not in self.options

    async def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        """The bytes at that offset; fewer at the end of the device, none beyond it."""
        device = self._device
        return await device.data.read(self.grant, device.geometry, offset_bytes, length_bytes)

    async def write(self, offset_bytes: int, data: Buffer, *, durable: bool = False) -> int:
        """Write at that offset, to the medium itself when ``durable``; how many bytes."""
        device = self._device
        return await device.data.write(
            self.grant, device.geometry, offset_bytes, data, durable=durable
        )

    async def flush(self) -> None:
        """What was written is on the medium (SYNCHRONIZE CACHE)."""
        await self._device.data.flush(self.grant)
        if self._lost_writes != self.grant.lost_writes:
            self._lost_writes = self.grant.lost_writes
            raise MpioError(
                "the array lost data that it had accepted (deferred error)",
                lun=self._device.name,
                hint="what was written since the last fsync is to be written again",
            )

    async def aclose(self) -> None:
        """Give the handle up.  The last one flushes and releases the reservation, unless it is retained."""
        await self._device.close(self)


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
        self.underpaths = tuple(
            Underpath(index, transport) for index, transport in enumerate(transports)
        )
        self._handles: list[Handle] = []
        self._grant: Grant | None = None
        self._owes_release = False
        self._stays_out = False
        """Fenced, and not opened since: its underpaths are not registered again by themselves."""
        self._retention: Retention | None = None
        self._clock = clock
        self._geometry: Geometry | None = None
        self._changing = trio.Lock()
        self._gate = Gate()
        self._log = log.bind(lun=self.name)
        self._registrar = Registrar(self.name, self.underpaths, settings, self.note_attention)
        self.recovery = DeviceRecovery(
            self.name,
            logical_unit.wwid,
            self.underpaths,
            self._gate,
            self._registrar,
            self._fence,
            settings.control_timeout_s,
        )
        self.data = DataPath(
            self.name,
            self.underpaths,
            self._gate,
            RoundRobin(),
            self.recovery,
            settings.io_timeout_s,
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
        return self._grant is not None

    async def read_state(self) -> ReserveState:
        """Keys and reservation as the array has them now.

        Raises:
            NoUsableUnderpath: no underpath answers.
        """
        return await self._registrar.read_state()

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
            found = await read_situation(
                self.name,
                self.settings.key,
                self.underpaths,
                self.settings.control_timeout_s,
                self.note_attention,
            )
            return self._with_handles(found)

    def _with_handles(self, found: Situation) -> Situation:
        opens, grant, holder = self._standing_opens(), self._grant, self._registrar.reserved
        is_lost = (
            grant is not None
            and found.reservation is not None
            and not is_ours(grant, ReserveState(found.keys, found.reservation), self._registrar)
        )
        return attrs.evolve(
            found,
            holder_name=holder.name if holder and not is_lost else None,
            opens=tuple(opens),
            is_lost=is_lost,
            is_reserving=grant is not None and grant.is_reserving,
            unregisters_standby=self.settings.standby == "unregistered",
        )

    def snapshot(self) -> DeviceSnapshot:
        """The state as it is known; sends nothing and never waits."""
        return DeviceSnapshot(
            name=self.name,
            wwid=str(self.logical_unit.wwid),
            size_bytes=self.size_bytes,
            block_size_bytes=self.block_size_bytes,
            key=self.settings.key,
            reservation=reservation_snapshot(self._registrar.last_state, self.settings.key),
            retention=self._retention if self._is_retaining else None,
            opens=tuple(
                f"{handle.options}{' (fenced)' if handle.grant.is_fenced else ''}"
                for handle in self._handles
            ),
            underpaths=tuple(underpath_snapshot(one, self._registrar) for one in self.underpaths),
        )

    # -- coming and going

    async def configure(self) -> None:
        """Figure 5 for every underpath, then the size, which some targets tell only to registrants.

        Raises:
            NoUsableUnderpath: not one underpath could be registered.
        """
        async with self._changing, self._gate.closed(self.settings.control_timeout_s):
            async with trio.open_nursery() as nursery:
                for underpath in self.underpaths:
                    nursery.start_soon(self._configure_underpath, underpath)
            if not any(underpath.registered for underpath in self.underpaths):
                raise NoUsableUnderpath(
                    f"no underpath could be registered ({self._failures()})",
                    lun=self.name,
                    hint="check the cabling, and that the array lets this host register",
                )
            await self._refuse_shared_key()
            await self._learn_geometry()
            state = await self._registrar.read_state()
            if state.is_held_by(self.settings.key):
                self._retention = Retention()
                self._log.info("reservation found ours, and kept")
            await self._stand_by()

    async def _configure_underpath(self, underpath: Underpath) -> None:
        """One underpath through Figure 5.

        The first attempt is REGISTER, which conflicts when this nexus is registered already, as after a crash of
        this host's daemon; the second ignores what was there.
        """
        procedure = register()
        here = next(procedure)
        try:
            while True:
                is_again = here.label != "510"
                is_good = await self._registrar.register(underpath, ignore_existing=is_again)
                # Registered before we came: what an earlier life sent here may still be under way.
                underpath.has_lost_write = is_good and is_again
                here = procedure.send(Outcome.GOOD if is_good else Outcome.REFUSED)
        except StopIteration as stop:
            self._log.debug("configured", underpath=underpath.name, end=stop.value.value)

    async def remove(self) -> None:
        """Figure 6: what is still open is closed, the registrations are taken back, the transports closed.

        A retained reservation stays, and with it the registrations: taking back the holder's would release it.

        Raises:
            MpioError: something of ours is left at the array; all else is done.
        """
        left = ""
        with trio.CancelScope(shield=True):
            for handle in list(self._handles):
                await handle.aclose()
            async with self._changing, self._gate.closed(self.settings.control_timeout_s):
                await self._look_at_retained()
                await self._release_owed()
                if self._is_retaining:
                    self._log.info("reservation retained")
                elif self._owes_release:
                    left = "the reservation could not be released"
                else:
                    left = await self._unregister()
            for underpath in self.underpaths:
                await underpath.transport.aclose()
        if left:
            what = f"left at the array: {left}"
            hint = "mount and unmount it again once its underpaths answer"
            raise MpioError(what, lun=self.name, hint=hint)

    async def _unregister(self) -> str:
        """Figure 6; what of ours the array still has, in words."""
        had_registrations = any(one.registered for one in self.underpaths)
        await Runner(self._registrar).run(unregister(reserved=False))
        if not had_registrations:
            return ""
        try:
            state = await self._registrar.read_state()
        except NoUsableUnderpath:
            return f"no underpath answers, so key {self.settings.key} may still be registered"
        left = state.keys.count(self.settings.key)
        return f"key {self.settings.key} is still registered, {left} times" if left else ""

    async def readmit(self, underpath: Underpath) -> bool:
        """Register an underpath that answers again, if it may be; whether it carries data now.

        Raises:
            MpioError: the state could not be read, or (`Fenced`) the device is not ours any more.
        """
        async with self._changing:
            if not await self.recovery.is_same_disk(underpath):
                return False
            async with self._gate.closed(self.settings.control_timeout_s):
                underpath.suspicion = None
                if self._grant is not None:
                    return await self.recovery.readmit_gated(self._grant, underpath)
                is_unregistered = self.settings.standby == "unregistered" and not self._is_retaining
                if self._stays_out or is_unregistered:
                    return False
                return await self._registrar.register(underpath, ignore_existing=True)

    # -- open and close

    async def open(self, options: OpenOption = OpenOption.DEFAULT) -> Handle:
        """Run the procedure that the options choose (Figure 7).

        Raises:
            UsageError: the options contradict each other.
            OpenRefused: the procedure ended in an error, or another handle of this host excludes this one.
        """
        procedure = decide(options)
        async with self._changing:
            check_local(self.name, options, self._standing_opens())
            async with self._gate.closed(self.settings.control_timeout_s):
                return await self._open_gated(procedure(), options)

    async def _open_gated(self, procedure: Procedure, options: OpenOption) -> Handle:
        await self._fence_if_lost()
        self._stays_out = False
        await self._verify_identities()
        runner = Runner(
            self._registrar,
            is_held_open_here=self._grant is not None and self._grant.is_reserving,
        )
        end = await runner.run(procedure)
        if end not in (End.OPENED, End.OPENED_RETAINED):
            await self._after_refusal()
            raise self._refusal(end, f"open with {options}", self._registrar.last_state)
        if self._grant is None:
            await self._refuse_shared_key()
        state = await self._registrar.read_state()
        grant = self._grant or Grant(self.name)
        if OpenOption.NO_RESERVE not in options:
            grant.is_reserving = True
        if not is_ours(grant, state, self._registrar):
            self._fence(grant, state)
            await self._after_refusal()
            raise self._refusal(End.EIO, f"open with {options}", state)
        if self._grant is None:
            self._retention = None
        self._owes_release = False
        self._grant = grant
        if OpenOption.RETAIN_RESERVATION in options and self._retention is None:
            self._retention = Retention(self._clock())
        if self._geometry is None:
            await self._learn_geometry()
        handle = Handle(self, grant, options)
        self._handles.append(handle)
        self._log.info("opened", options=str(options), opens=len(self._handles))
        return handle

    async def _refuse_shared_key(self) -> None:
        """Refuse when another host has our key registered: the array cannot tell the two of us apart.

        Raises:
            OpenRefused: EIO; our registrations are taken back first.
        """
        for underpath in self.underpaths:
            if underpath.registered:
                timeout_s = self.settings.control_timeout_s
                users = await other_users_of(
                    self.settings.key, underpath, timeout_s, self.note_attention
                )
                break
        else:
            return
        if users:
            await self._registrar.unregister_all(is_key_ours_alone=False)
            raise OpenRefused(
                f"key {self.settings.key} is registered by {' and '.join(sorted(users))}",
                errno.EIO,
                lun=self.name,
                hint="give each host a key of its own (--key, or key in the configuration)",
            )

    async def _verify_identities(self) -> None:
        """Another disk may sit behind a node since it was found; what unit attentions told is settled with it."""
        async with trio.open_nursery() as nursery:
            for underpath in self.underpaths:
                if underpath.state is not UnderpathState.REMOVED:
                    underpath.suspicion = None
                    nursery.start_soon(self.recovery.is_same_disk, underpath)

    async def close(self, handle: Handle) -> None:
        """What `Handle.aclose` does: Figure 12 when it is the last one of its grant."""
        with trio.CancelScope(shield=True):
            async with self._changing:
                if handle not in self._handles:
                    return
                self._handles.remove(handle)
                is_last = not any(one.grant is handle.grant for one in self._handles)
                self._log.info("closed", options=str(handle.options), opens=len(self._handles))
                if is_last and not handle.grant.is_fenced:
                    await self._close_last(handle.grant)

    async def _close_last(self, grant: Grant) -> None:
        try:
            await self.data.flush(grant)
        except MpioError as error:
            self._log.error("flush at the last close failed", cause=str(error))
        self._owes_release = grant.is_reserving and self._retention is None
        await self._bar_before_release(grant)
        if grant.is_fenced:
            return
        async with self._gate.closed(self.settings.control_timeout_s):
            self._grant = None
            await self._release_owed()
            await self._stand_by()

    async def _bar_before_release(self, grant: Grant) -> None:
        """No write of ours may land once others may write."""
        if any(one.has_lost_write for one in self.underpaths):
            try:
                await self.recovery.bar(grant)
            except MpioError as error:
                self._log.info("lost writes not settled", cause=str(error))

    async def _release_owed(self) -> None:
        """Figure 12, now if that is safe; otherwise it stays owed, and `finish_release` tries again.

        A write that is still out, even behind the barrier, could land once nobody holds the reservation.
        """
        retain = self._retention is not None
        if self._owes_release and not all(_is_quiet(one) for one in self.underpaths):
            self._log.warning("release postponed", cause="old writes are still out")
            return
        end = await Runner(self._registrar).run(release(reserved=self._owes_release, retain=retain))
        state = self._registrar.last_state
        is_ours_still = state is None or state.is_held_by(self.settings.key)
        self._owes_release = self._owes_release and (end is not End.CLOSED or is_ours_still)

    async def finish_release(self) -> None:
        """Make up for a release that the last close could not do."""
        async with self._changing:
            if self._grant is not None or not self._owes_release:
                return
            await self._bar_before_release(Grant(self.name, is_reserving=True))
            async with self._gate.closed(self.settings.control_timeout_s):
                await self._release_owed()
                await self._stand_by()

    async def look(self) -> None:
        """See whether an open device is still ours; fences its handles when it is not."""
        if self._grant is not None:
            await self.recovery.look(self._grant)

    async def release_retained(self) -> None:
        """Give up a reservation that was retained, or found ours: Figure 12, as if its last close came now.

        Raises:
            OpenRefused: EBUSY, a handle relies on it; EIO, it is still ours afterwards.
            MpioError: the reservation is not ours, or no underpath answers.
        """
        async with self._changing:
            if self._grant is not None:
                hint = "the last close releases it, unless it was opened to retain it"
                raise OpenRefused("open on this host", errno.EBUSY, lun=self.name, hint=hint)
            if (await self._registrar.read_state()).is_held_by(self.settings.key):
                await self._bar_before_release(Grant(self.name, is_reserving=True))
            async with self._gate.closed(self.settings.control_timeout_s):
                await self._release_retained_gated()

    async def _release_retained_gated(self) -> None:
        state = await self._registrar.read_state()
        if not state.is_held_by(self.settings.key):
            self._retention = None
            raise self._nothing_to_release(state)
        if not all(_is_quiet(one) for one in self.underpaths):
            what = "not released: old writes are still out, and could land once others may write"
            raise OpenRefused(what, errno.EIO, lun=self.name, hint="try again in a while")
        if not any(one.registered for one in self.underpaths):
            await self._registrar.register_all()
        await Runner(self._registrar).run(release(reserved=True, retain=False))
        state = await self._registrar.read_state()
        if state.is_held_by(self.settings.key):
            raise self._refusal(End.EIO, "release", state)
        self._retention = None
        self._log.info("retained reservation released")
        await self._stand_by()

    def _nothing_to_release(self, state: ReserveState) -> MpioError:
        held = reservation_snapshot(state, self.settings.key)
        who = f"reserved by key {held.holder} ({held.type})" if held.holder else "nobody holds it"
        return MpioError(f"this host holds no reservation to release: {who}", lun=self.name)

    async def _look_at_retained(self) -> None:
        """See whether the array still has what is to be retained; if nobody answers, it is taken for true."""
        if self._retention is not None:
            try:
                await self._registrar.read_state()
            except NoUsableUnderpath as error:
                self._log.info("state unknown", cause=str(error))

    @property
    def _is_retaining(self) -> bool:
        """Whether our reservation is to outlive the last close: another host may have taken it since."""
        last = self._registrar.last_state
        is_lost = last is not None and not last.is_held_by(self.settings.key)
        return self._retention is not None and not is_lost

    def _standing_opens(self) -> list[OpenOption]:
        return [one.options for one in self._handles if not one.grant.is_fenced]

    async def _fence_if_lost(self) -> None:
        """Before anything is registered again, see that the older handles' grant still stands."""
        grant = self._grant
        if grant is None:
            return
        state = await self._registrar.read_state()
        if not is_ours(grant, state, self._registrar):
            self._fence(grant, state)

    async def _after_refusal(self) -> None:
        try:
            await self._fence_if_lost()
            await self._stand_by()
        except NoUsableUnderpath as error:
            self._log.info("state unknown after a refused open", cause=str(error))

    async def _stand_by(self) -> None:
        """A host that holds nothing keeps its registrations, or not, as configured."""
        is_idle = self._grant is None and not self._is_retaining
        if self.settings.standby == "unregistered" and is_idle:
            await self._registrar.unregister_all()

    def _refusal(self, end: End, request: str, state: ReserveState | None) -> OpenRefused:
        reservation = reservation_snapshot(state, self.settings.key)
        if reservation.owner == "theirs":
            what = f"reserved by key {reservation.holder} ({reservation.type})"
            hint = "close it on that host, or take it over with a forced open"
        else:
            what = f"{request} refused ({self._failures() or 'by the array'})"
            hint = "see 'mpio-fuse status' for its underpaths"
        return OpenRefused(what, ERRNOS[end], lun=self.name, hint=hint)

    # -- fencing

    def _fence(self, grant: Grant, state: ReserveState) -> None:
        """End a grant.  Synchronous: from here on none of its commands leaves."""
        if grant.is_fenced:
            return
        grant.is_fenced = True
        if self.settings.key not in state.keys:
            for underpath in self.underpaths:
                underpath.registered = False
        self._stays_out = True
        if self._grant is grant:
            self._grant = None
            self._retention = None
            self._registrar.reserved = None
        reservation = reservation_snapshot(state, self.settings.key)
        self._log.warning("fenced", reservation=reservation.owner, holder=str(reservation.holder))
        self.on_fenced()

    def note_attention(self, underpath: Underpath, verdict: Verdict, what: str) -> None:
        """A unit attention or deferred error met by a control command: told once, so it must not be lost."""
        self._log.info("unit attention", underpath=underpath.name, sense=what)
        if verdict is Verdict.DEFERRED_ERROR:
            if self._grant is not None:
                self._grant.lost_writes += 1
        elif verdict is not Verdict.RETRY_HERE:
            underpath.suspicion = Suspicion(verdict)

    # -- helpers

    async def _learn_geometry(self) -> None:
        capacity = self.logical_unit.capacity or await self._read_capacity()
        size = capacity.block_size_bytes
        limits = [one.transport.max_transfer_bytes // size for one in self.underpaths]
        limits.append(self.logical_unit.max_transfer_blocks or DEFAULT_MAX_TRANSFER_BYTES // size)
        self._geometry = Geometry(
            size, capacity.blocks, max(1, min(limits)), has_fua=await self._ask_for_fua()
        )

    async def _read_capacity(self) -> Capacity:
        for underpath in self.underpaths:
            if underpath.registered:
                capacity = await self._prober(underpath).read_capacity()
                if capacity is not None:
                    return capacity
        raise NoUsableUnderpath("READ CAPACITY fails on every underpath", lun=self.name)

    async def _ask_for_fua(self) -> bool:
        """Asked of a registered underpath: MODE SENSE conflicts on the others while a host holds the disk."""
        underpath = next(one for one in self.underpaths if one.registered)
        return await self._prober(underpath).has_fua()

    def _prober(self, underpath: Underpath) -> Prober:
        return Prober(underpath, self.settings.control_timeout_s, self.note_attention)

    def _failures(self) -> str:
        return "; ".join(
            f"{one.name}: {one.last_failure}" for one in self.underpaths if one.last_failure
        )


def _is_quiet(underpath: Underpath) -> bool:
    """Whether no data command of ours can still come out of this underpath."""
    is_barred_ghost = underpath.epoch > 0 and underpath.transport.stranded > 0
    return not (underpath.in_flight or underpath.has_lost_write or is_barred_ghost)
