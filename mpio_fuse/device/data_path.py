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
* While an underpath is marked with a write that may be lost (`mpio_fuse.device.flight`) nothing is written, on any
  underpath: the barrier (`Recovery.bar`) comes first, after which the array refuses whatever the old nexus still sends.
* What a unit attention or a conflict told is marked on the underpath at once, and nothing is sent there until
  `Recovery.look_into` has asked the array.  A look that fails leaves the mark.
* What a completion means is one table's business (`mpio_fuse.device.reaction`), how often is `Attempts`', where to send
  the selection's, and waiting without underpaths `Outages`'.  Nobody pauses or waits inside the gate.
* Every request ends within `mpio_fuse.device.bounds.request_s`, whatever hangs: then it is cancelled, as by its caller.
* The first attempt of a request is made without waiting for anything, where nothing has to be waited for
  (`_first_flight`); what is not plainly good goes on in `_carry`, as if that had made it.
* Buffers of a command that was given up are never used again: each attempt reads into a new one.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import trio

from mpio_fuse.device.attempts import Attempts, Step
from mpio_fuse.device.bounds import request_s
from mpio_fuse.device.checks import Checks
from mpio_fuse.device.extents import Extent, covering, is_aligned, pieces
from mpio_fuse.device.flight import TIMED_OUT, Flight, Flights, length_bytes
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.geometry import Geometry
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.outages import Outages
from mpio_fuse.device.range_lock import RangeLock
from mpio_fuse.device.reaction import Action
from mpio_fuse.device.selection.selection import Selection
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import (
    MpioError,
    NoSpace,
    NotSupported,
    NoUsableUnderpath,
)
from mpio_fuse.scsi import block
from mpio_fuse.scsi.command import Command, HostStatus

LOOKS = 6
"""How often it is looked into what completions told before one command is sent: a look itself may be told more."""

Buffer = bytes | bytearray | memoryview


class Recovery(Protocol):
    """What the device does before the next attempt.  Both may raise, `Fenced` above all."""

    async def look_into(self, grant: Grant) -> None:
        """Settle the suspicions on all underpaths, by asking the array."""
        ...

    async def bar(self, grant: Grant) -> None:
        """Make sure that no lost write can reach the medium any more."""
        ...


class DataPath:
    """Carries one device's data.

    Args:
        underpaths: the device's, as they come and go.
    """

    def __init__(
        self,
        lun: str,
        underpaths: Sequence[Underpath],
        gate: Gate,
        selection: Selection,
        recovery: Recovery,
        outages: Outages,
        checks: Checks,
        settings: Settings,
    ) -> None:
        self._lun = lun
        self._underpaths = underpaths
        self._gate = gate
        self._selection = selection
        self._recovery = recovery
        self._outages = outages
        self._checks = checks
        self._io_timeout_s = settings.io_timeout_s
        self._request_timeout_s = request_s(settings)
        self._flights = Flights(gate, settings.io_timeout_s)
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
        began_s, first = trio.current_time(), None
        if extent.blocks <= geometry.max_transfer_blocks:
            into = bytearray(extent.blocks * size)
            command = block.read(extent.lba, into, size, timeout_s=self._io_timeout_s)
            first = self._first_flight(grant, command, began_s, is_write=False)
            if first is not None:
                await first.fly()
        if first is not None and first.is_plainly_good:
            data: Buffer = first.command.data_in or b""
        else:
            with self._bounded("read", began_s):
                data = await self._read_extent(grant, geometry, extent, first)
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
        began_s = trio.current_time()
        if not (
            is_aligned(offset_bytes, fits, geometry.block_size_bytes)
            and extent.blocks <= geometry.max_transfer_blocks
            and not durable
            and await self._write_at_once(grant, geometry, extent, data, began_s)
        ):
            with self._bounded("write", began_s):
                async with self._locks.holding(extent):
                    await self._write_locked(grant, geometry, offset_bytes, data, durable=durable)
        return fits

    async def _write_at_once(
        self, grant: Grant, geometry: Geometry, extent: Extent, data: Buffer, began_s: float
    ) -> bool:
        """Write whole blocks that one command carries; False: nothing was done, for it would have had to wait."""
        claim = self._locks.try_hold(extent)
        if claim is None:
            return False
        try:
            size, timeout_s = geometry.block_size_bytes, self._io_timeout_s
            command = block.write(extent.lba, data, size, timeout_s=timeout_s)
            first = self._first_flight(grant, command, began_s, is_write=True)
            if first is None:
                return False
            await first.fly()
            if not first.is_plainly_good:
                with self._bounded("write", began_s):
                    await self._carry(grant, lambda: command, is_write=True, first=first)
            return True
        finally:
            self._locks.release(claim)

    async def _write_locked(
        self, grant: Grant, geometry: Geometry, offset_bytes: int, data: Buffer, *, durable: bool
    ) -> None:
        extent = covering(offset_bytes, len(data), geometry.block_size_bytes)
        if not is_aligned(offset_bytes, len(data), geometry.block_size_bytes):
            data = await self._fill_blocks(grant, geometry, extent, offset_bytes, data)
        await self._write_extent(grant, geometry, extent, data, durable=durable)

    async def flush(self, grant: Grant) -> None:
        """Everything written and answered so far is on the medium: SYNCHRONIZE CACHE."""
        grant.check()
        with self._bounded("flush", trio.current_time()):
            await self._flush(grant)

    async def _flush(self, grant: Grant) -> None:
        if self._has_synchronize_cache:
            try:
                await self._carry(grant, block.synchronize_cache, is_write=False)
            except NotSupported:
                self._has_synchronize_cache = False  # SBC: then there is no volatile cache

    @contextmanager
    def _bounded(self, what: str, began_s: float) -> Iterator[None]:
        """Cut the request off when its time is over, counted from its beginning.

        Raises:
            NoUsableUnderpath: it was.
        """
        with trio.move_on_at(began_s + self._request_timeout_s) as scope:
            yield
        if scope.cancelled_caught:
            raise NoUsableUnderpath(
                f"{what}: not done within {self._request_timeout_s:g} s",
                lun=self._lun,
                hint="see 'mpio-fuse status' for what each underpath says",
            )

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

    async def _read_extent(
        self, grant: Grant, geometry: Geometry, extent: Extent, first: Flight | None = None
    ) -> Buffer:
        """``first``: the first attempt, where it has been made, of an extent that one command carries."""
        if extent.blocks <= geometry.max_transfer_blocks:
            return await self._read_piece(grant, geometry, extent, first)
        parts: dict[int, Buffer] = {}

        async def read_part(piece: Extent) -> None:
            parts[piece.lba] = await self._read_piece(grant, geometry, piece)

        await _all(read_part, list(pieces(extent, geometry.max_transfer_blocks)))
        return b"".join(parts[lba] for lba in sorted(parts))

    async def _read_piece(
        self, grant: Grant, geometry: Geometry, piece: Extent, first: Flight | None = None
    ) -> Buffer:
        size = geometry.block_size_bytes

        def build() -> Command:
            into = bytearray(piece.blocks * size)
            return block.read(piece.lba, into, size, timeout_s=self._io_timeout_s)

        return (await self._carry(grant, build, is_write=False, first=first)).data_in or b""

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
            await self._flush(grant)

    # -- one command, until it is settled

    async def _carry(
        self,
        grant: Grant,
        build: Callable[[], Command],
        *,
        is_write: bool,
        first: Flight | None = None,
    ) -> Command:
        """Send the command, built anew for each attempt, until it is done; the one that was.

        ``first`` is the first attempt, where it has been made.
        """
        began_s = first.began_s if first is not None else trio.current_time()
        attempts: Attempts | None = None
        last = ""
        while True:
            flight, first = first, None
            if flight is None:
                await self._prepare(grant, is_write=is_write)
                flight = await self._attempt(grant, build(), attempts, is_write=is_write)
            if flight is None:
                if attempts is None or not any(one.is_usable for one in self._underpaths):
                    await self._wait(grant, self._nothing_left(last))
                    continue
                step = attempts.none_left(trio.current_time())
            elif flight.is_plainly_good:
                return flight.command
            else:
                attempts = attempts or Attempts(began_s, self._io_timeout_s)
                last, step = flight.what(), self._after(flight, attempts)
                if step.action is Action.DONE:
                    return flight.command
                if _took_too_long(flight):
                    await self._checks.check_doubtful(began_s)
            if step.action is Action.FAIL:
                raise step.reaction.error(last, lun=self._lun, hint=step.reaction.hint)
            await trio.sleep(step.pause_s)

    async def _prepare(self, grant: Grant, *, is_write: bool) -> None:
        """What must be settled first: is it still ours, and is every write that was lost dead."""
        for _ in range(LOOKS):
            if not any(one.needs_look for one in self._underpaths):
                break
            try:
                await self._recovery.look_into(grant)
            except NoUsableUnderpath as error:
                await self._wait(grant, error)
        while is_write and any(one.has_lost_write for one in self._underpaths):
            if any(one.is_usable for one in self._underpaths):
                await self._bar(grant)
            else:
                await self._wait(grant, self._nothing_left("a write was lost"))

    async def _bar(self, grant: Grant) -> None:
        try:
            await self._recovery.bar(grant)
        except NoUsableUnderpath:
            if any(one.is_usable for one in self._underpaths):
                await (
                    self._checks.check_all()
                )  # the others may be gone too, and nobody have noticed yet
            if any(one.is_usable for one in self._underpaths):
                raise

    async def _wait(self, grant: Grant, error: MpioError) -> None:
        """Wait for an underpath, outside the gate: what comes back is let in behind it."""
        await self._outages.wait(error)
        grant.check()

    def _nothing_left(self, last: str) -> NoUsableUnderpath:
        return NoUsableUnderpath(
            f"no underpath left ({last or 'none is in service'})",
            lun=self._lun,
            hint="see 'mpio-fuse status' for what each of them says",
        )

    async def _attempt(
        self, grant: Grant, command: Command, attempts: Attempts | None, *, is_write: bool
    ) -> Flight | None:
        """One command on one underpath, until it is back; None: no underpath is open to it."""
        await self._gate.enter()
        flight = self._depart(grant, command, attempts, trio.current_time(), is_write=is_write)
        if flight is not None:
            await flight.fly()
        return flight

    def _first_flight(
        self, grant: Grant, command: Command, now_s: float, *, is_write: bool
    ) -> Flight | None:
        """As `_prepare` and `_attempt`, if neither has anything to wait for; None: nothing was done."""
        for one in self._underpaths:
            if one.suspicion is not None or (is_write and one.has_lost_write):
                return None
        if not self._gate.try_enter():
            return None
        return self._depart(grant, command, None, now_s, is_write=is_write)

    def _depart(
        self,
        grant: Grant,
        command: Command,
        attempts: Attempts | None,
        now_s: float,
        *,
        is_write: bool,
    ) -> Flight | None:
        """The command's flight, for who has entered the gate: left by its landing, or here if there is none."""
        underpath = None
        try:
            grant.check()
            underpath = self._choose(command, attempts, now_s)
        finally:
            if underpath is None:
                self._gate.leave()
        if underpath is None:
            return None
        return Flight(self._flights, grant, underpath, command, now_s, is_write=is_write)

    def _choose(
        self, command: Command, attempts: Attempts | None, now_s: float
    ) -> Underpath | None:
        chosen = self._selection.choose(
            [one for one in self._underpaths if one.is_usable],
            length_bytes(command),
            now_s,
            None if attempts is None else partial(_is_open, attempts),
        )
        if chosen is not None:
            self._outages.found()
        return chosen

    @staticmethod
    def _after(flight: Flight, attempts: Attempts) -> Step:
        """What the request does after a flight that was not plainly good."""
        completion = flight.completion or TIMED_OUT  # never neither: it has landed
        index, incarnation = flight.underpath.index, flight.incarnation
        return attempts.after(index, incarnation, completion, trio.current_time())


def _took_too_long(flight: Flight) -> bool:
    completion = flight.completion
    return completion is not None and completion.host_status == HostStatus.TIME_OUT


def _is_open(attempts: Attempts, one: Underpath) -> bool:
    return attempts.is_open_to(one.index, one.health.incarnation)


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
