"""Reads, writes and flushes: from bytes of a file to data commands over whichever underpath carries them.

Theory of operation
-------------------
`DataPath.read`, `write` and `flush` turn a byte range into commands and send each with `_carry`, which tries until a
completion settles it.  One attempt is one command on one underpath, inside the gate; what is decided between
attempts (look at the reservation again, put up the barrier) happens outside the gate, because it closes it.

* A write holds the lock on its blocks until every attempt of it is settled: done, or known dead at the array.  So
  no old copy of it can land over a newer write, and reading and writing back a partial block is not
  disturbed.
* No command leaves unless its grant stands *after* the gate has let it through.
* A write that failed for transport reasons, or whose caller was cancelled, may still be alive: its underpath is
  marked before the lock on its blocks can go.  While a mark stands nothing is written, on any underpath: the
  barrier (`Recovery.bar`) comes first, after which the array refuses whatever the old nexus still sends.
* What a unit attention or a conflict told is marked on the underpath at once, and nothing is sent there until
  `Recovery.look_into` has asked the array.  A look that fails leaves the mark.
* Buffers of a command that was given up are never used again: each attempt reads into a new one.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
import structlog
import trio

from mpio_fuse.device.extents import Extent, covering, is_aligned, pieces
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.geometry import Geometry
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.range_lock import RangeLock
from mpio_fuse.device.selector import Selector
from mpio_fuse.device.underpath import Suspicion, Underpath, UnderpathState
from mpio_fuse.errors import (
    MediumError,
    MpioError,
    NoSpace,
    NotSupported,
    NoUsableUnderpath,
    TransportError,
    TransportGone,
    WriteProtected,
)
from mpio_fuse.scsi import block
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.verdict import Verdict, describe, judge

log = structlog.get_logger(__name__)

ATTEMPTS_PER_UNDERPATH = 6
"""How often one command is sent for each underpath there is, before the caller gets EIO."""

BACK_OFF_S = 0.01
MAX_BACK_OFF_S = 1.0

_PAUSES = {Verdict.RETRY_HERE, Verdict.CAPACITY_CHANGED}
_SUSPICIOUS = {
    Verdict.REEXAMINE,
    Verdict.RECHECK_IDENTITY,
    Verdict.TASK_ABORTED,
    Verdict.UNKNOWN,
}
_ELSEWHERE = {Verdict.RETRY_ELSEWHERE, Verdict.STANDBY, Verdict.NOT_READY, Verdict.UNKNOWN}

Buffer = bytes | bytearray | memoryview


class Recovery(Protocol):
    """What the device does before the next attempt.  Both may raise, `Fenced` above all."""

    async def look_into(self, grant: Grant) -> None:
        """Settle the suspicions on all underpaths, by asking the array."""
        ...

    async def bar(self, grant: Grant) -> None:
        """Make sure that no lost write can reach the medium any more."""
        ...


@attrs.define
class _Progress:
    """One command's way: where it was tried, how often it failed, what was said last."""

    busy_until_s: float
    tried: set[Underpath] = attrs.Factory(set)
    failures: int = 0
    pauses: int = 0
    last: str = ""


class DataPath:
    """Carries one device's data."""

    def __init__(
        self,
        lun: str,
        underpaths: Sequence[Underpath],
        gate: Gate,
        selector: Selector,
        recovery: Recovery,
        io_timeout_s: float,
    ) -> None:
        self._lun = lun
        self._underpaths = underpaths
        self._gate = gate
        self._selector = selector
        self._recovery = recovery
        self._io_timeout_s = io_timeout_s
        self._locks = RangeLock()
        self._refuses_fua = False
        self._has_synchronize_cache = True

    # -- bytes

    async def read(
        self, grant: Grant, geometry: Geometry, offset_bytes: int, length_bytes: int
    ) -> Buffer:
        """The bytes at that offset; fewer at the end of the device, none beyond it."""
        length_bytes = min(length_bytes, geometry.size_bytes - offset_bytes)
        if length_bytes <= 0:
            return b""
        size = geometry.block_size_bytes
        extent = covering(offset_bytes, length_bytes, size)
        data = await self._read_extent(grant, geometry, extent)
        if len(data) == length_bytes:
            return data
        start = offset_bytes - extent.lba * size
        return memoryview(data)[start : start + length_bytes]

    async def write(
        self, grant: Grant, geometry: Geometry, offset_bytes: int, data: Buffer, *, durable: bool
    ) -> int:
        """Write, and with ``durable`` to the medium itself; how many bytes, fewer at the end of the device.

        Raises:
            NoSpace: nothing of it fits on the device.
        """
        fits = min(len(data), geometry.size_bytes - offset_bytes)
        if not data:
            return 0
        if fits <= 0:
            raise NoSpace("written past the end", lun=self._lun)
        data = memoryview(data)[:fits]
        extent = covering(offset_bytes, fits, geometry.block_size_bytes)
        async with self._locks.holding(extent):
            if not is_aligned(offset_bytes, fits, geometry.block_size_bytes):
                data = await self._fill_blocks(grant, geometry, extent, offset_bytes, data)
            await self._write_extent(grant, geometry, extent, data, durable=durable)
        return fits

    async def flush(self, grant: Grant) -> None:
        """Everything written and answered so far is on the medium: SYNCHRONIZE CACHE."""
        grant.check()
        if self._has_synchronize_cache:
            try:
                await self._carry(grant, block.synchronize_cache, is_write=False)
            except NotSupported:
                self._has_synchronize_cache = False  # SBC: then there is no volatile cache

    # -- whole blocks

    async def _fill_blocks(
        self, grant: Grant, geometry: Geometry, extent: Extent, offset_bytes: int, data: Buffer
    ) -> Buffer:
        """The extent's blocks with ``data`` put in at its offset: what a partial block needs around it.

        Only the first and last block are read; the caller holds the lock on all of them.
        """
        size = geometry.block_size_bytes
        start = offset_bytes - extent.lba * size
        end = start + len(data)
        blocks = bytearray(extent.blocks * size)
        if start:
            blocks[:size] = await self._read_extent(grant, geometry, Extent(extent.lba, 1))
        if end % size and not (start and extent.blocks == 1):
            last = Extent(extent.end_lba - 1, 1)
            blocks[-size:] = await self._read_extent(grant, geometry, last)
        blocks[start:end] = data
        return blocks

    async def _read_extent(self, grant: Grant, geometry: Geometry, extent: Extent) -> Buffer:
        if extent.blocks <= geometry.max_transfer_blocks:
            return await self._read_piece(grant, geometry, extent)
        parts: dict[int, Buffer] = {}

        async def read_part(piece: Extent) -> None:
            parts[piece.lba] = await self._read_piece(grant, geometry, piece)

        await _all(read_part, list(pieces(extent, geometry.max_transfer_blocks)))
        return b"".join(parts[lba] for lba in sorted(parts))

    async def _read_piece(self, grant: Grant, geometry: Geometry, piece: Extent) -> Buffer:
        size = geometry.block_size_bytes

        def build() -> Command:
            into = bytearray(piece.blocks * size)
            return block.read(piece.lba, into, size, timeout_s=self._io_timeout_s)

        return (await self._carry(grant, build, is_write=False)).data_in or b""

    async def _write_extent(
        self, grant: Grant, geometry: Geometry, extent: Extent, data: Buffer, *, durable: bool
    ) -> None:
        size = geometry.block_size_bytes
        view = memoryview(data)

        async def write_part(piece: Extent) -> None:
            start = (piece.lba - extent.lba) * size
            part = view[start : start + piece.blocks * size]
            await self._write_piece(grant, geometry, piece, part, durable=durable)

        await _all(write_part, list(pieces(extent, geometry.max_transfer_blocks)))

    async def _write_piece(
        self, grant: Grant, geometry: Geometry, piece: Extent, data: Buffer, *, durable: bool
    ) -> None:
        size = geometry.block_size_bytes

        def build(*, fua: bool) -> Command:
            return block.write(piece.lba, data, size, fua=fua, timeout_s=self._io_timeout_s)

        if durable and geometry.has_fua and not self._refuses_fua:
            try:
                await self._carry(grant, lambda: build(fua=True), is_write=True)
            except NotSupported:
                self._refuses_fua = True
            else:
                return
        await self._carry(grant, lambda: build(fua=False), is_write=True)
        if durable:
            await self.flush(grant)

    # -- one command, until it is settled

    async def _carry(
        self, grant: Grant, build: Callable[[], Command], *, is_write: bool
    ) -> Command:
        """Send the command, built anew for each attempt, until it is done; the one that was."""
        progress = _Progress(trio.current_time() + self._io_timeout_s)
        while progress.failures < ATTEMPTS_PER_UNDERPATH * len(self._underpaths):
            await self._prepare(grant, is_write=is_write)
            command = build()
            underpath, completion = await self._attempt(grant, command, progress, is_write=is_write)
            if completion.is_good and not completion.residual_bytes:
                _count(underpath, command)
                return command
            progress.last = f"{command.name} on {underpath.name}: {describe(completion)}"
            verdict = self._react(grant, underpath, completion, progress)
            if verdict in _PAUSES and trio.current_time() < progress.busy_until_s:
                await trio.sleep(min(BACK_OFF_S * 2**progress.pauses, MAX_BACK_OFF_S))
                progress.pauses += 1
            else:
                progress.failures += 1
        what = f"given up: {progress.last}"
        raise MpioError(what, lun=self._lun, hint="see 'mpio-fuse status' for its underpaths")

    async def _prepare(self, grant: Grant, *, is_write: bool) -> None:
        """What must be settled first: is it still ours, and is every write that was lost dead."""
        for _ in range(ATTEMPTS_PER_UNDERPATH):  # the look itself may be told more
            if all(one.suspicion is None for one in self._underpaths):
                break
            await self._recovery.look_into(grant)
        if is_write and any(one.has_lost_write for one in self._underpaths):
            await self._recovery.bar(grant)

    async def _attempt(
        self, grant: Grant, command: Command, progress: _Progress, *, is_write: bool
    ) -> tuple[Underpath, Completion]:
        """One command on one underpath.  A write of unknown fate is marked so before anything else can run."""
        async with self._gate.passing():
            grant.check()
            underpath = self._choose(progress)
            epoch = underpath.epoch
            is_settled = False
            try:
                completion = await self._send(underpath, command)
                is_settled = judge(completion) is not Verdict.RETRY_ELSEWHERE
            finally:
                if is_write and not is_settled and underpath.epoch == epoch:
                    underpath.has_lost_write = True
            return underpath, completion

    def _choose(self, progress: _Progress) -> Underpath:
        tried = progress.tried
        candidates = [one for one in self._underpaths if one.is_usable and one not in tried]
        if candidates:
            return self._selector.choose(candidates)
        raise NoUsableUnderpath(
            f"no underpath left ({progress.last or 'none is registered'})",
            lun=self._lun,
            hint="see 'mpio-fuse status' for what each of them says",
        )

    async def _send(self, underpath: Underpath, command: Command) -> Completion:
        """One command on one underpath, within our own bound: the transport's bounds nothing."""
        underpath.in_flight += 1
        try:
            with trio.move_on_after(self._io_timeout_s):
                return await underpath.transport.execute(command)
            return Completion(host_status=HostStatus.TIME_OUT)
        except TransportGone as gone:
            self._remove(underpath, gone)
            return Completion(host_status=HostStatus.NO_CONNECT)
        except TransportError:
            return Completion(host_status=HostStatus.NO_CONNECT)
        finally:
            underpath.in_flight -= 1

    def _react(
        self, grant: Grant, underpath: Underpath, completion: Completion, progress: _Progress
    ) -> Verdict:
        """Note what the verdict on a failed attempt asks for before the next one, or raise.

        Synchronous: what a unit attention told is on the underpath before another command can be sent there.
        """
        # GOOD, but not with all the data, is nothing to rely on.
        verdict = Verdict.NOT_READY if completion.is_good else judge(completion)
        if verdict in _SUSPICIOUS:
            underpath.suspicion = Suspicion(verdict)
        if verdict in _ELSEWHERE:
            progress.tried.add(underpath)
        match verdict:
            case Verdict.DEFERRED_ERROR:
                grant.lost_writes += 1
            case Verdict.RETRY_ELSEWHERE:
                self._fail(underpath, progress.last)
            case Verdict.STANDBY:
                underpath.state = UnderpathState.GHOST
            case _ if verdict not in _SUSPICIOUS | _ELSEWHERE | _PAUSES:
                raise self._final(verdict, progress.last)
        return verdict

    def _final(self, verdict: Verdict, what: str) -> MpioError:
        """The error for a verdict that no other underpath can change."""
        kinds: dict[Verdict, type[MpioError]] = {
            Verdict.MEDIUM_ERROR: MediumError,
            Verdict.NO_SPACE: NoSpace,
            Verdict.WRITE_PROTECTED: WriteProtected,
            Verdict.NOT_SUPPORTED: NotSupported,
        }
        return kinds.get(verdict, MpioError)(what, lun=self._lun)

    def _remove(self, underpath: Underpath, gone: TransportGone) -> None:
        underpath.registered = False
        if underpath.state is not UnderpathState.REMOVED:
            underpath.state = UnderpathState.REMOVED
            log.warning(
                "underpath removed", lun=self._lun, underpath=underpath.name, cause=gone.what
            )

    def _fail(self, underpath: Underpath, what: str) -> None:
        underpath.counters.failures += 1
        underpath.last_failure = what
        if underpath.state is UnderpathState.UP:
            underpath.state = UnderpathState.DOWN
            log.warning("underpath down", lun=self._lun, underpath=underpath.name, cause=what)


def _count(underpath: Underpath, command: Command) -> None:
    counters = underpath.counters
    if command.data_in is not None:
        counters.reads += 1
        counters.bytes_read += len(command.data_in)
    elif command.data_out:
        counters.writes += 1
        counters.bytes_written += len(command.data_out)


async def _all(do: Callable[[Extent], Awaitable[None]], parts: Sequence[Extent]) -> None:
    """Do all parts at once; each ends before this does, so that none outlives the caller's locks."""
    if len(parts) == 1:
        await do(parts[0])
        return
    errors: list[MpioError] = []

    async def keep_error(part: Extent) -> None:
        try:
            await do(part)
        except MpioError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(keep_error, part)
    if errors:
        raise errors[0]
