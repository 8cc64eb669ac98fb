"""What every transport must do: the contract of `mpio_fuse.transport.contract` as tests.

A test module of a transport makes a subclass of `TransportConformance`, and of the classes below for each fault that
its target can be made to show, and gives them a ``bench`` fixture::

    class TestMine(TransportConformance, OfflineConformance):
        @pytest.fixture
        async def bench(self) -> AsyncIterator[MyBench]: ...

The suite knows nothing of any transport: it sends commands that every disk answers, and it disturbs through
the bench.  It writes to the disk's first megabytes.  Nothing in it is timed; `HANG_S` only ends a test that hangs.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import TransportError, TransportGone, UsageError
from mpio_fuse.scsi.block import read, synchronize_cache, write
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status, received
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.contract import StartingTransport, Transport

HANG_S = 30.0
MIN_INQUIRY_BYTES = 36
FIRST_LBA = 64
FILL = 0xA5


class Bench(Protocol):
    """One open transport to a disk of at least 16 MiB that nobody else uses, without pending unit attention."""

    transport: Transport
    block_size_bytes: int
    last_lba: int

    async def reopen(self) -> Transport:
        """Open the same underpath again; the caller closes it."""
        ...


class SlowBench(Bench, Protocol):
    """A bench whose target can take its time."""

    def slow(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, a data command ends only some time after it was sent, but does end."""
        ...


class OfflineBench(Bench, Protocol):
    """A bench whose device can be set offline and running."""

    async def set_offline(self) -> None: ...

    async def set_running(self) -> None: ...


class VanishBench(Bench, Protocol):
    """A bench whose device can be deleted for good."""

    async def vanish(self) -> None: ...


class MediumErrorBench(Bench, Protocol):
    """A bench with a block that cannot be read."""

    bad_lba: int

    def bad_medium(self) -> AbstractAsyncContextManager[None]: ...


class UnitAttentionBench(Bench, Protocol):
    """A bench that can establish a unit attention condition on this nexus."""

    async def establish_unit_attention(self) -> None: ...


class HeldResetBench(Bench, Protocol):
    """A bench that can keep resets from being answered."""

    @property
    def resets(self) -> int:
        """How many have gone out of the transport."""
        ...

    def held_resets(self) -> AbstractAsyncContextManager[None]:
        """While it is entered, no reset is confirmed; on leaving, those that went out are."""
        ...


def stamp(lba: int, length_bytes: int) -> bytes:
    """Bytes that say which block they belong to, everywhere in it."""
    return (lba.to_bytes(8, "big") * (length_bytes // 8 + 1))[:length_bytes]


async def write_stamps(bench: Bench, count: int) -> None:
    """Give each of ``count`` blocks from `FIRST_LBA` its own stamp."""
    size = bench.block_size_bytes
    data = b"".join(stamp(lba, size) for lba in range(FIRST_LBA, FIRST_LBA + count))
    assert (await bench.transport.execute(write(FIRST_LBA, data, size))).is_good


async def read_block(bench: Bench, lba: int) -> bytes:
    command = read(lba, bytearray(bench.block_size_bytes), bench.block_size_bytes)
    completion = await bench.transport.execute(command)
    assert completion.is_good, completion
    return received(command, completion)


async def none_stranded(transport: Transport) -> None:
    """Wait until the layers below have given back every cancelled command."""
    with trio.fail_after(HANG_S):
        while transport.stranded:  # noqa: ASYNC110 (the contract has no event for it)
            await trio.sleep(0.005)


def started_reads(bench: Bench, nursery: trio.Nursery, count: int) -> list[Completion | Exception]:
    """Start ``count`` reads; the list fills, in order of their ends, with what became of them."""
    ends: list[Completion | Exception] = []

    async def one(lba: int) -> None:
        buffer = bytearray(bench.block_size_bytes)
        try:
            ends.append(await bench.transport.execute(read(lba, buffer, bench.block_size_bytes)))
        except TransportGone as error:
            ends.append(error)

    for index in range(count):
        nursery.start_soon(one, FIRST_LBA + index)
    return ends


class TransportConformance:
    """What can be seen of a transport whose target does nothing unusual."""

    async def test_has_a_name_and_limits(self, bench: Bench) -> None:
        assert bench.transport.name
        assert bench.transport.max_in_flight >= 1
        assert bench.transport.max_transfer_bytes >= 65536
        assert bench.transport.stranded == 0

    async def test_command_without_data_is_good(self, bench: Bench) -> None:
        completion = await bench.transport.execute(test_unit_ready())
        assert completion.is_good
        assert completion.residual_bytes == 0

    async def test_data_command_without_data_is_good(self, bench: Bench) -> None:
        assert (await bench.transport.execute(synchronize_cache())).is_good

    async def test_short_data_in_is_told_by_the_residual(self, bench: Bench) -> None:
        command = inquiry(252)
        completion = await bench.transport.execute(command)
        assert completion.is_good
        data = received(command, completion)
        assert MIN_INQUIRY_BYTES <= len(data) < 252
        assert len(data) == data[4] + 5, (
            "SPC-5 6.7.2: ADDITIONAL LENGTH counts the bytes after itself"
        )

    async def test_data_beyond_the_residual_is_left_alone(self, bench: Bench) -> None:
        buffer = bytearray([FILL]) * 252
        command = Command("INQUIRY", inquiry(252).cdb, data_in=buffer)
        completion = await bench.transport.execute(command)
        assert completion.residual_bytes > 0
        assert set(buffer[-completion.residual_bytes :]) <= {FILL, 0}

    async def test_data_out_arrives(self, bench: Bench) -> None:
        await write_stamps(bench, 4)
        for lba in range(FIRST_LBA, FIRST_LBA + 4):
            assert await read_block(bench, lba) == stamp(lba, bench.block_size_bytes)

    async def test_check_condition_brings_sense(self, bench: Bench) -> None:
        buffer = bytearray(bench.block_size_bytes)
        completion = await bench.transport.execute(
            read(bench.last_lba + 1, buffer, bench.block_size_bytes)
        )
        assert completion.status == Status.CHECK_CONDITION
        assert completion.host_status == HostStatus.OK
        assert (completion.sense[2] & 0x0F, *completion.sense[12:14]) == (0x05, 0x21, 0x00)

    async def test_unknown_operation_code_brings_sense(self, bench: Bench) -> None:
        completion = await bench.transport.execute(Command("unknown", bytes([0xFF]) + bytes(5)))
        assert completion.status == Status.CHECK_CONDITION
        assert (completion.sense[2] & 0x0F, *completion.sense[12:14]) == (0x05, 0x20, 0x00)

    async def test_largest_transfer_goes_both_ways(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        length_bytes = min(bench.transport.max_transfer_bytes, 8 << 20) // size * size
        pattern = b"".join(stamp(lba, size) for lba in range(length_bytes // size))
        assert (await bench.transport.execute(write(0, pattern, size))).is_good
        buffer = bytearray(length_bytes)
        assert (await bench.transport.execute(read(0, buffer, size))).is_good
        assert buffer == pattern

    async def test_commands_of_every_kind_in_flight_get_their_own_answers(
        self, bench: Bench
    ) -> None:
        count = 3 * bench.transport.max_in_flight
        await write_stamps(bench, count)
        blocks: dict[int, bytes] = {}
        states: list[Completion] = []

        async def one_read(lba: int) -> None:
            blocks[lba] = await read_block(bench, lba)

        async def one_check() -> None:
            states.append(await bench.transport.execute(test_unit_ready()))

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for lba in range(FIRST_LBA, FIRST_LBA + count):
                    nursery.start_soon(one_read, lba)
                    nursery.start_soon(one_check)
        assert blocks == {lba: stamp(lba, bench.block_size_bytes) for lba in blocks}
        assert len(blocks) == count
        assert [state.is_good for state in states] == [True] * count

    async def test_writes_in_flight_keep_their_own_data(self, bench: Bench) -> None:
        size, count = bench.block_size_bytes, 3 * bench.transport.max_in_flight

        async def one_write(lba: int) -> None:
            assert (await bench.transport.execute(write(lba, stamp(lba, size), size))).is_good

        async with trio.open_nursery() as nursery:
            for lba in range(count):
                nursery.start_soon(one_write, lba)
        for lba in range(count):
            assert await read_block(bench, lba) == stamp(lba, size)

    async def test_slices_of_one_buffer_are_filled_in_place(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        await write_stamps(bench, 3)
        buffer = bytearray([FILL]) * (5 * size)
        whole = memoryview(buffer)
        for index in range(3):
            into = whole[(index + 1) * size : (index + 2) * size]
            assert (await bench.transport.execute(read(FIRST_LBA + index, into, size))).is_good
        expected = b"".join(stamp(FIRST_LBA + index, size) for index in range(3))
        assert buffer == bytes([FILL]) * size + expected + bytes([FILL]) * size

    async def test_slices_are_written_from_in_place(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        source = memoryview(stamp(7, size) + stamp(8, size) + stamp(9, size))
        assert (
            await bench.transport.execute(write(FIRST_LBA, source[size : 2 * size], size))
        ).is_good
        assert await read_block(bench, FIRST_LBA) == stamp(8, size)

    async def test_a_buffer_is_free_when_its_command_has_ended(self, bench: Bench) -> None:
        buffer = bytearray(bench.block_size_bytes)
        assert (await bench.transport.execute(read(0, buffer, bench.block_size_bytes))).is_good
        buffer.extend(b"a bytearray grows only while nobody holds its memory")

    @pytest.mark.parametrize("data_in", [None, bytearray()], ids=["none", "empty"])
    async def test_no_data_asked_for(self, bench: Bench, data_in: bytearray | None) -> None:
        command = Command("INQUIRY", inquiry(0).cdb, data_in=data_in)
        completion = await bench.transport.execute(command)
        assert completion.is_good
        assert completion.residual_bytes == 0
        assert received(command, completion) == b""

    async def test_refuses_before_sending(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        before = await read_block(bench, FIRST_LBA)
        cdb = write(FIRST_LBA, bytes(size), size).cdb
        beyond = bytes(bench.transport.max_transfer_bytes + 1)
        refused = [
            Command("strided", cdb, data_out=memoryview(bytes(2 * size))[::2]),
            Command("wide items", cdb, data_out=memoryview(bytes(size)).cast("I")),
            Command("both ways", cdb, data_out=bytes(size), data_in=bytearray(size)),
            Command("read-only", cdb, data_in=memoryview(bytes(size))),
            Command("too long", cdb, data_out=beyond),
            Command("short CDB", cdb[:5], data_out=bytes(size)),
        ]
        for command in refused:
            with pytest.raises(UsageError, match=command.name):
                await bench.transport.execute(command)
        assert await read_block(bench, FIRST_LBA) == before

    async def test_cancelled_before_it_is_sent_it_never_is(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        await write_stamps(bench, 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.transport.execute(write(FIRST_LBA, bytes(size), size))
        assert scope.cancelled_caught
        assert bench.transport.stranded == 0
        assert await read_block(bench, FIRST_LBA) == stamp(FIRST_LBA, size)

    async def test_closed_it_is_gone(self, bench: Bench) -> None:
        transport = await bench.reopen()
        await transport.aclose()
        for command in (test_unit_ready(), synchronize_cache()):
            with pytest.raises(TransportGone, match=transport.name):
                await transport.execute(command)

    async def test_may_be_closed_twice_and_alone(self, bench: Bench) -> None:
        transport = await bench.reopen()
        await transport.aclose()
        await transport.aclose()
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def test_may_be_closed_while_being_cancelled(self, bench: Bench) -> None:
        transport = await bench.reopen()
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.aclose()
        with pytest.raises(TransportGone):
            await transport.execute(test_unit_ready())


class ResetConformance:
    """LOGICAL UNIT RESET of a target that has it."""

    async def test_after_a_reset_the_target_says_so(self, bench: Bench) -> None:
        await self._reset(bench)
        completion = await bench.transport.execute(test_unit_ready())
        assert completion.status == Status.CHECK_CONDITION
        assert (completion.sense[2] & 0x0F, completion.sense[12]) == (0x06, 0x29)
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def test_what_was_written_stays(self, bench: Bench) -> None:
        await write_stamps(bench, 1)
        await self._reset(bench)
        await bench.transport.execute(test_unit_ready())
        assert await read_block(bench, FIRST_LBA) == stamp(FIRST_LBA, bench.block_size_bytes)

    async def test_resets_follow_each_other(self, bench: Bench) -> None:
        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(bench.transport.reset_logical_unit)
        assert bench.transport.stranded == 0

    async def test_a_reset_cancelled_before_it_is_sent_never_is(self, bench: Bench) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.transport.reset_logical_unit()
        assert scope.cancelled_caught
        assert bench.transport.stranded == 0
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def test_closed_it_resets_nothing(self, bench: Bench) -> None:
        transport = await bench.reopen()
        await transport.aclose()
        with pytest.raises(TransportGone, match=transport.name):
            await transport.reset_logical_unit()
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def _reset(self, bench: Bench) -> None:
        with trio.fail_after(HANG_S):
            await bench.transport.reset_logical_unit()


class SlowResetConformance:
    """A reset while commands are in flight."""

    async def test_commands_in_flight_end(self, bench: SlowBench) -> None:
        async with bench.slow(), trio.open_nursery() as nursery:
            count = bench.transport.max_in_flight
            ends = started_reads(bench, nursery, count)
            await wait_all_tasks_blocked()
            with trio.fail_after(HANG_S):
                await bench.transport.reset_logical_unit()
        assert len(ends) == count
        assert all(isinstance(end, Completion) for end in ends)
        assert bench.transport.stranded == 0


class HeldResetConformance:
    """Waiting for a reset, and no longer waiting for it."""

    async def test_the_second_waits_for_the_first(self, bench: HeldResetBench) -> None:
        async with trio.open_nursery() as nursery:
            async with bench.held_resets():
                for _ in range(3):
                    nursery.start_soon(bench.transport.reset_logical_unit)
                await out(bench, 1)
            await out(bench, 3)

    async def test_commands_go_on_meanwhile(self, bench: HeldResetBench) -> None:
        async with trio.open_nursery() as nursery, bench.held_resets():
            nursery.start_soon(bench.transport.reset_logical_unit)
            await out(bench, 1)
            with trio.fail_after(HANG_S):
                await bench.transport.execute(synchronize_cache())
                await bench.transport.execute(test_unit_ready())

    async def test_cancelled_it_is_stranded_until_it_ends(self, bench: HeldResetBench) -> None:
        async with bench.held_resets():
            await self._leave_resets_behind(bench)
            assert bench.transport.stranded == 1
        await none_stranded(bench.transport)

    async def test_the_next_waits_for_a_stranded_one(self, bench: HeldResetBench) -> None:
        async with trio.open_nursery() as nursery:
            async with bench.held_resets():
                await self._leave_resets_behind(bench)
                nursery.start_soon(bench.transport.reset_logical_unit)
                await out(bench, 1)
            await out(bench, 2)

    async def test_cancelled_while_it_waits_it_never_goes_out(self, bench: HeldResetBench) -> None:
        async with bench.held_resets():
            await self._leave_resets_behind(bench, 2)
            assert bench.transport.stranded == 1
        await none_stranded(bench.transport)
        assert bench.resets == 1

    async def test_closing_ends_the_one_under_way_and_the_one_that_waits(
        self, bench: HeldResetBench
    ) -> None:
        ends: list[TransportError] = []

        async def one() -> None:
            with pytest.raises(TransportGone, match=bench.transport.name) as raised:
                await bench.transport.reset_logical_unit()
            ends.append(raised.value)

        async with bench.held_resets():
            with trio.fail_after(HANG_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one)
                    nursery.start_soon(one)
                    await out(bench, 1)
                    await bench.transport.aclose()
            assert len(ends) == 2
            assert bench.transport.stranded == 1
        await none_stranded(bench.transport)
        assert bench.resets == 1

    async def _leave_resets_behind(self, bench: HeldResetBench, count: int = 1) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(bench.transport.reset_logical_unit)
            await out(bench, 1)
            nursery.cancel_scope.cancel()


class _Counting(Protocol):
    @property
    def resets(self) -> int: ...


async def out(bench: _Counting, count: int) -> None:
    """Wait until ``count`` resets have gone out, and no more."""
    with trio.fail_after(HANG_S):
        while bench.resets < count:  # noqa: ASYNC110 (they may go out in a thread, unannounced)
            await trio.sleep(0.005)
    await wait_all_tasks_blocked()
    assert bench.resets == count


class SlowConformance:
    """Cancelling and closing while commands are in flight."""

    async def _leave_behind(self, bench: SlowBench, *commands: Command) -> None:
        """Send the commands and be cancelled, so that they are left in the layers below."""
        async with trio.open_nursery() as nursery:
            for command in commands:
                nursery.start_soon(bench.transport.execute, command)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    def _reads(self, bench: SlowBench, count: int) -> list[Command]:
        size = bench.block_size_bytes
        return [read(FIRST_LBA + index, bytearray(size), size) for index in range(count)]

    async def test_cancelled_command_is_stranded_until_it_ends(self, bench: SlowBench) -> None:
        async with bench.slow():
            await self._leave_behind(bench, *self._reads(bench, 1))
            assert bench.transport.stranded == 1
        await none_stranded(bench.transport)
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def test_other_commands_work_while_one_is_stranded(self, bench: SlowBench) -> None:
        await write_stamps(bench, 2)
        async with bench.slow():
            await self._leave_behind(bench, *self._reads(bench, 1))
            assert await read_block(bench, FIRST_LBA + 1) == stamp(
                FIRST_LBA + 1, bench.block_size_bytes
            )
        await none_stranded(bench.transport)

    async def test_buffer_is_held_while_stranded_and_left_alone_after(
        self, bench: SlowBench
    ) -> None:
        await write_stamps(bench, 1)
        buffer = bytearray(bench.block_size_bytes)
        async with bench.slow():
            await self._leave_behind(bench, read(FIRST_LBA, buffer, len(buffer)))
            with pytest.raises(BufferError):
                buffer.extend(b"its memory must not move under the command")
        await none_stranded(bench.transport)
        buffer[:] = bytes([FILL]) * len(buffer)
        for _ in range(2 * bench.transport.max_in_flight):
            await read_block(bench, FIRST_LBA)
        assert set(buffer) == {FILL}

    async def test_slot_stays_taken_while_stranded(self, bench: SlowBench) -> None:
        """Were it freed at once, the layers below would be given more than they take."""
        depth = bench.transport.max_in_flight
        async with bench.slow(), trio.open_nursery() as nursery:
            await self._leave_behind(bench, *self._reads(bench, depth))
            assert bench.transport.stranded == depth
            ends = started_reads(bench, nursery, depth)
            await none_stranded(bench.transport)
        assert [end for end in ends if not (isinstance(end, Completion) and end.is_good)] == []
        assert len(ends) == depth

    async def test_cancelled_while_waiting_for_a_slot_it_is_never_sent(
        self, bench: SlowBench
    ) -> None:
        size = bench.block_size_bytes
        await write_stamps(bench, 1)
        async with bench.slow(), trio.open_nursery() as nursery:
            ends = started_reads(bench, nursery, bench.transport.max_in_flight)
            await wait_all_tasks_blocked()
            await self._leave_behind(bench, write(FIRST_LBA, bytes(size), size))
            assert bench.transport.stranded == 0
        assert len(ends) == bench.transport.max_in_flight
        assert await read_block(bench, FIRST_LBA) == stamp(FIRST_LBA, size)

    async def test_closing_ends_what_is_in_flight_and_what_waits(self, bench: SlowBench) -> None:
        async with bench.slow():
            with trio.fail_after(HANG_S):
                async with trio.open_nursery() as nursery:
                    count = bench.transport.max_in_flight + 3
                    ends = started_reads(bench, nursery, count)
                    await wait_all_tasks_blocked()
                    await bench.transport.aclose()
                    assert bench.transport.stranded == bench.transport.max_in_flight
        assert [type(end) for end in ends] == [TransportGone] * count
        await none_stranded(bench.transport)


class StartedCommand:
    """A command that was started, and all that was told of it."""

    def __init__(self, transport: Transport, command: Command) -> None:
        assert isinstance(transport, StartingTransport)
        self.told: list[Completion | Exception] = []
        self._is_told = trio.Event()
        self.started = transport.start(command, self._tell)

    def _tell(self, how: Completion | Exception) -> None:
        self.told.append(how)
        self._is_told.set()

    async def end(self) -> Completion | Exception:
        with trio.fail_after(HANG_S):
            await self._is_told.wait()
        await wait_all_tasks_blocked()
        (how,) = self.told
        return how

    async def completion(self) -> Completion:
        """How it ended, if it did with a completion."""
        how = await self.end()
        assert isinstance(how, Completion), how
        return how


class StartingConformance:
    """What `start` has of its own.  All else it has in common with `execute`: see `tests.transport.by_starting`."""

    async def test_what_is_started_is_told_once(self, bench: Bench) -> None:
        await write_stamps(bench, 1)
        buffer = bytearray(bench.block_size_bytes)
        one = StartedCommand(bench.transport, read(FIRST_LBA, buffer, len(buffer)))
        assert (await one.completion()).is_good
        assert buffer == stamp(FIRST_LBA, len(buffer))
        assert bench.transport.stranded == 0

    async def test_its_buffer_is_free_when_it_is_told(self, bench: Bench) -> None:
        buffer = bytearray(bench.block_size_bytes)
        one = StartedCommand(bench.transport, read(0, buffer, len(buffer)))
        assert (await one.completion()).is_good
        assert one.started is not None, "and may be kept"
        buffer.extend(b"a bytearray grows only while nobody holds its memory")

    async def test_what_is_not_good_is_told(self, bench: Bench) -> None:
        buffer = bytearray(bench.block_size_bytes)
        one = StartedCommand(bench.transport, read(bench.last_lba + 1, buffer, len(buffer)))
        completion = await one.completion()
        assert (completion.sense[2] & 0x0F, *completion.sense[12:14]) == (0x05, 0x21, 0x00)

    async def test_as_many_as_fit_and_then_none(self, bench: SlowBench) -> None:
        size, depth = bench.block_size_bytes, bench.transport.max_in_flight
        await write_stamps(bench, depth + 1)
        async with bench.slow():
            ones = [
                StartedCommand(bench.transport, read(FIRST_LBA + index, bytearray(size), size))
                for index in range(depth)
            ]
            assert all(one.started is not None for one in ones)
            more = write(FIRST_LBA + depth, bytes(size), size)
            assert StartedCommand(bench.transport, more).started is None
            for one in ones:
                assert (await one.completion()).is_good
        at = FIRST_LBA + depth
        assert await read_block(bench, at) == stamp(at, size), "nothing was sent"

    async def test_who_waits_for_a_slot_comes_first(self, bench: SlowBench) -> None:
        size, depth = bench.block_size_bytes, bench.transport.max_in_flight
        async with bench.slow(), trio.open_nursery() as nursery:
            ends = started_reads(bench, nursery, depth + 1)
            await wait_all_tasks_blocked()
            late = StartedCommand(bench.transport, read(0, bytearray(size), size))
            assert late.started is None
        assert len(ends) == depth + 1

    async def test_abandoned_it_is_stranded_and_nobody_is_told(self, bench: SlowBench) -> None:
        size = bench.block_size_bytes
        async with bench.slow():
            one = StartedCommand(bench.transport, write(FIRST_LBA, stamp(7, size), size))
            assert one.started is not None
            one.started.abandon()
            assert bench.transport.stranded == 1
        await none_stranded(bench.transport)
        await wait_all_tasks_blocked()
        assert one.told == []
        assert await read_block(bench, FIRST_LBA) == stamp(7, size), "it takes effect all the same"

    async def test_abandoned_after_its_end_nothing_is_stranded(self, bench: Bench) -> None:
        one = StartedCommand(bench.transport, synchronize_cache())
        assert (await one.completion()).is_good
        assert one.started is not None
        one.started.abandon()
        assert bench.transport.stranded == 0
        assert (await bench.transport.execute(test_unit_ready())).is_good

    async def test_what_cannot_be_sent_is_not_started(self, bench: Bench) -> None:
        size = bench.block_size_bytes
        cdb = write(FIRST_LBA, bytes(size), size).cdb
        beyond = bytes(bench.transport.max_transfer_bytes + 1)
        for command in (
            Command("strided", cdb, data_out=memoryview(bytes(2 * size))[::2]),
            Command("both ways", cdb, data_out=bytes(size), data_in=bytearray(size)),
            Command("too long", cdb, data_out=beyond),
            Command("short CDB", cdb[:5], data_out=bytes(size)),
        ):
            one = StartedCommand(bench.transport, command)
            await wait_all_tasks_blocked()
            assert (one.started, one.told) == (None, [])

    async def test_closing_tells_what_is_in_flight(self, bench: SlowBench) -> None:
        size = bench.block_size_bytes
        async with bench.slow():
            one, left = (
                StartedCommand(bench.transport, read(lba, bytearray(size), size)) for lba in (0, 1)
            )
            assert left.started is not None
            left.started.abandon()
            await bench.transport.aclose()
            assert isinstance(await one.end(), TransportGone)
            assert bench.transport.stranded == 2
            late = StartedCommand(bench.transport, synchronize_cache())
            assert (late.started, late.told) == (None, [])
        await none_stranded(bench.transport)
        assert len(one.told) == 1
        assert left.told == []


class OfflineConformance:
    """A device that is offline is not gone."""

    async def test_offline_is_a_completion_and_running_restores(self, bench: OfflineBench) -> None:
        await write_stamps(bench, 1)
        await bench.set_offline()
        try:
            for command in (synchronize_cache(), inquiry()):
                completion = await bench.transport.execute(command)
                assert completion.host_status == HostStatus.NO_CONNECT
                assert not completion.is_good
        finally:
            await bench.set_running()
        assert await read_block(bench, FIRST_LBA) == stamp(FIRST_LBA, bench.block_size_bytes)


class VanishConformance:
    """A device that was deleted is gone for good."""

    async def test_gone_for_every_later_command(self, bench: VanishBench) -> None:
        await bench.vanish()
        for command in (synchronize_cache(), test_unit_ready(), synchronize_cache(), inquiry()):
            with trio.fail_after(HANG_S), pytest.raises(TransportGone, match=bench.transport.name):
                await bench.transport.execute(command)
        assert bench.transport.stranded == 0
        await bench.transport.aclose()

    async def test_gone_for_a_reset(self, bench: VanishBench) -> None:
        await bench.vanish()
        for _ in range(2):
            with trio.fail_after(HANG_S), pytest.raises(TransportGone, match=bench.transport.name):
                await bench.transport.reset_logical_unit()
        assert bench.transport.stranded == 0

    async def test_commands_in_flight_end_when_it_vanishes(self, bench: VanishBench) -> None:
        """With a completion or with the error, but they end."""
        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                count = 3 * bench.transport.max_in_flight
                ends = started_reads(bench, nursery, count)
                await wait_all_tasks_blocked()
                await bench.vanish()
        assert len(ends) == count
        with pytest.raises(TransportGone):
            await bench.transport.execute(synchronize_cache())


class MediumErrorConformance:
    """What the target says of its medium passes through."""

    async def test_medium_error_is_a_check_condition(self, bench: MediumErrorBench) -> None:
        buffer = bytearray(bench.block_size_bytes)
        async with bench.bad_medium():
            command = read(bench.bad_lba, buffer, bench.block_size_bytes)
            completion = await bench.transport.execute(command)
        assert completion.status == Status.CHECK_CONDITION
        assert completion.host_status == HostStatus.OK
        assert (completion.sense[2] & 0x0F, completion.sense[12]) == (0x03, 0x11)


class UnitAttentionConformance:
    """A unit attention is reported to the caller, once, and by whichever command comes first."""

    async def test_unit_attention_reaches_a_data_command(self, bench: UnitAttentionBench) -> None:
        await bench.establish_unit_attention()
        await self._told_once(bench, synchronize_cache())

    async def test_unit_attention_reaches_a_check(self, bench: UnitAttentionBench) -> None:
        await bench.establish_unit_attention()
        await self._told_once(bench, test_unit_ready())

    async def _told_once(self, bench: UnitAttentionBench, command: Command) -> None:
        completion = await bench.transport.execute(command)
        assert completion.status == Status.CHECK_CONDITION
        assert completion.sense[2] & 0x0F == 0x06
        assert (await bench.transport.execute(command)).is_good
