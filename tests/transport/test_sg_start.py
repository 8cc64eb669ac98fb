"""Commands that the sg transport starts, against a driver that answers when the test says so."""

import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.block import read
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.busy_poll import BUSY_POLL
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.sg.native import QUEUE_DEPTH
from mpio_fuse.transport.sg.routing import DataOpcode
from mpio_fuse.transport.sg.transport import SgTransport
from mpio_fuse.transport.slots import Slots
from tests.transport.by_starting import by_starting
from tests.transport.conformance import (
    HANG_S,
    SlowConformance,
    StartedCommand,
    StartingConformance,
    none_stranded,
)
from tests.transport.fake_driver import FakeDriver, FakeNode, Sent

BLOCK = 512
DISK_BYTES = 16 << 20
SLOW_S = 0.1
BEYOND_THE_END = bytes.fromhex("70 00 05 00 00 00 00 0a 00 00 00 00 21 00 00 00 00 00")


# The conformance suite ---------------------------------------------------------------------------------------------


class FakeDisk(FakeDriver):
    """A driver with a disk behind it, which answers by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = memoryview(bytearray(DISK_BYTES))
        self.delay_s = 0.0

    def submit(self, slot: int, tag: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> object:
        pinned = super().submit(slot, tag, cdb, phase, timeout_s)
        trio.lowlevel.spawn_system_task(self._carry_out, self.sent.pop())
        return pinned

    async def _carry_out(self, command: Sent) -> None:
        await trio.sleep(self.delay_s)
        self.answer(command, self._completion(command))

    def _completion(self, command: Sent) -> Completion:
        data = command.data()
        assert data is not None, "unpinned while the driver has it"
        begin = BLOCK * int.from_bytes(command.cdb[2:6], "big")
        there = self.blocks[begin : begin + len(data)]
        if len(there) < len(data):
            return Completion(status=Status.CHECK_CONDITION, sense=BEYOND_THE_END)
        match command.cdb[0]:
            case DataOpcode.READ_10:
                data[:] = there
            case DataOpcode.WRITE_10:
                there[:] = data
        return Completion()


class FakeBench:
    """A transport to a `FakeDisk`."""

    block_size_bytes = BLOCK
    last_lba = DISK_BYTES // BLOCK - 1

    def __init__(self) -> None:
        self.disk = FakeDisk()
        self.node = FakeNode(self.disk)
        self.transport = SgTransport(
            "/dev/sg9", self.node.node, self.disk, Slots(1000), lambda *_: Completion()
        )

    async def reopen(self) -> SgTransport:
        raise NotImplementedError

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self.disk.delay_s = SLOW_S
        yield
        self.disk.delay_s = 0.0


@asynccontextmanager
async def open_bench() -> AsyncIterator[FakeBench]:
    bench = FakeBench()
    yield bench
    await bench.transport.aclose()
    await none_stranded(bench.transport)
    await wait_all_tasks_blocked()
    assert bench.disk.is_closed
    bench.node.close()


class TestStarting(StartingConformance, SlowConformance):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[FakeBench]:
        async with open_bench() as bench:
            yield bench


class TestByStarting(SlowConformance):
    """Every data command is started."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[FakeBench]:
        async with open_bench() as bench:
            yield await by_starting(bench)


# Slots and tags ----------------------------------------------------------------------------------------------------


@pytest.fixture
def node() -> Iterator[FakeNode]:
    node = FakeNode()
    yield node
    node.close()


@pytest.fixture
def driver(node: FakeNode) -> FakeDriver:
    return node.driver


@pytest.fixture
def host_tags() -> Slots:
    return Slots(QUEUE_DEPTH)


@pytest.fixture
async def transport(node: FakeNode, host_tags: Slots) -> AsyncIterator[SgTransport]:
    transport = SgTransport("/dev/sg9", node.node, node.driver, host_tags)
    await wait_all_tasks_blocked()
    yield transport
    BUSY_POLL.cool()
    await transport.aclose()


def read_of(lba: int) -> Command:
    return read(lba, bytearray(BLOCK), BLOCK)


def started_reads(transport: SgTransport, count: int) -> list[StartedCommand]:
    ones = [StartedCommand(transport, read_of(lba)) for lba in range(count)]
    assert all(one.started is not None for one in ones)
    return ones


async def test_what_needs_a_thread_is_not_started(
    driver: FakeDriver, transport: SgTransport
) -> None:
    assert StartedCommand(transport, test_unit_ready()).started is None
    assert driver.sent == []


async def test_without_a_host_tag_nothing_is_started_and_the_slot_given_back(
    driver: FakeDriver, transport: SgTransport, host_tags: Slots
) -> None:
    tags = [await host_tags.take(None) for _ in range(QUEUE_DEPTH)]
    for lba in range(QUEUE_DEPTH + 1):
        assert StartedCommand(transport, read_of(lba)).started is None
    assert driver.sent == []
    for tag in tags:
        host_tags.give_back(tag)
    started_reads(transport, QUEUE_DEPTH)


@pytest.mark.parametrize(
    "refusal", [errno.ENOMEM, errno.EDOM, errno.ENXIO, errno.ENODEV, errno.EPERM, errno.EINVAL]
)
async def test_refused_by_the_driver_nothing_was_done(
    driver: FakeDriver, transport: SgTransport, refusal: int
) -> None:
    driver.refusals = [refusal] * (QUEUE_DEPTH + 1)
    refused = [StartedCommand(transport, read_of(lba)) for lba in range(QUEUE_DEPTH + 1)]
    assert [(one.started, one.told) for one in refused] == [(None, [])] * (QUEUE_DEPTH + 1)
    started_reads(transport, QUEUE_DEPTH)
    assert len(driver.sent) == QUEUE_DEPTH


async def test_what_was_refused_execute_says(driver: FakeDriver, transport: SgTransport) -> None:
    driver.refusals = [errno.ENODEV, errno.ENODEV]
    assert StartedCommand(transport, read_of(0)).started is None
    with pytest.raises(TransportGone, match="deleted"):
        await transport.execute(read_of(0))
    late = StartedCommand(transport, read_of(0))
    assert (late.started, late.told, driver.sent) == (None, [], [])


async def test_abandoned_it_keeps_slot_tag_and_buffer_until_it_is_given_back(
    driver: FakeDriver, transport: SgTransport, host_tags: Slots
) -> None:
    for _ in range(QUEUE_DEPTH - 1):
        host_tags.take_at_once()
    buffer = bytearray(BLOCK)
    one = StartedCommand(transport, read(0, buffer, BLOCK))
    assert one.started is not None
    one.started.abandon()
    assert transport.stranded == 1
    assert host_tags.take_at_once() is None
    with pytest.raises(BufferError):
        buffer.extend(b"its memory must not move under the command")
    driver.answer_all()
    BUSY_POLL.look()
    assert (transport.stranded, one.told) == (0, [])
    assert host_tags.take_at_once() is not None
    buffer.extend(b"now it may")


async def test_abandoned_commands_take_up_the_queue(
    driver: FakeDriver, node: FakeNode, nursery: trio.Nursery
) -> None:
    transport = SgTransport("/dev/sg9", node.node, driver, Slots(1000))
    for one in started_reads(transport, QUEUE_DEPTH):
        assert one.started is not None
        one.started.abandon()
    assert StartedCommand(transport, read_of(99)).started is None
    driver.answer_all()
    BUSY_POLL.look()
    started_reads(transport, QUEUE_DEPTH)
    await transport.aclose()


# Polling -----------------------------------------------------------------------------------------------------------


async def rest(driver: FakeDriver, transport: SgTransport) -> None:
    """Somebody polls from now on: the reader has nothing to do until told so."""
    BUSY_POLL.is_hot = True
    one = StartedCommand(transport, read_of(1))
    driver.answer_all()
    await one.end()


async def until_closed(driver: FakeDriver) -> None:
    with trio.fail_after(HANG_S):
        while not driver.is_closed:  # noqa: ASYNC110 (a hung-up node is polled)
            await trio.sleep(0.01)


async def test_who_polls_takes_the_answers(driver: FakeDriver, transport: SgTransport) -> None:
    ones = started_reads(transport, 2)
    last = Completion(status=Status.BUSY)
    driver.answer_all(last)
    assert BUSY_POLL.look()
    assert [one.told for one in ones] == [[last], [last]]
    assert not BUSY_POLL.look()


async def test_while_somebody_polls_the_reader_rests(
    driver: FakeDriver, transport: SgTransport
) -> None:
    await rest(driver, transport)
    (one,) = started_reads(transport, 1)
    driver.answer_all()
    await wait_all_tasks_blocked()
    assert one.told == []
    BUSY_POLL.cool()
    await one.completion()


async def test_only_who_is_woken_disturbs_who_stays(
    driver: FakeDriver, transport: SgTransport, nursery: trio.Nursery
) -> None:
    started_reads(transport, 1)
    BUSY_POLL.is_calm = True
    driver.answer_all()
    assert BUSY_POLL.look()
    assert BUSY_POLL.is_calm, "who started it is told, and that is all"
    nursery.start_soon(transport.execute, read_of(0))
    await wait_all_tasks_blocked()
    BUSY_POLL.is_calm = True
    driver.answer_all()
    assert BUSY_POLL.look()
    assert not BUSY_POLL.is_calm


async def test_who_gets_the_place_of_another_disturbs_who_stays(
    driver: FakeDriver, transport: SgTransport, nursery: trio.Nursery
) -> None:
    started_reads(transport, QUEUE_DEPTH)
    nursery.start_soon(transport.execute, read_of(99))
    await wait_all_tasks_blocked()
    BUSY_POLL.is_calm = True
    driver.answer(driver.by_lba(0))
    assert BUSY_POLL.look()
    assert not BUSY_POLL.is_calm
    await wait_all_tasks_blocked()
    driver.answer_all()


async def test_a_hung_up_node_is_polled_no_more(driver: FakeDriver, transport: SgTransport) -> None:
    driver.hang_up()
    assert BUSY_POLL.look()
    assert not BUSY_POLL.look(), "it is readable for ever"
    assert StartedCommand(transport, read_of(0)).started is None


async def test_a_hang_up_that_the_reader_finds_leaves_too(
    driver: FakeDriver, transport: SgTransport
) -> None:
    started_reads(transport, 1)
    driver.hang_up()
    with trio.fail_after(HANG_S):  # a reader that spins is never blocked
        await wait_all_tasks_blocked()
    assert not BUSY_POLL.look()
    driver.answer_all()
    await transport.aclose()


async def test_answers_after_a_hang_up_come_however_long_others_are_polled(
    driver: FakeDriver, transport: SgTransport
) -> None:
    await rest(driver, transport)
    (one,) = started_reads(transport, 1)
    driver.hang_up()
    assert BUSY_POLL.look()
    last = Completion(host_status=HostStatus.NO_CONNECT)
    driver.answer_all(last)
    assert await one.completion() == last


async def test_an_unreadable_node_does_not_trouble_who_polls(
    driver: FakeDriver, transport: SgTransport
) -> None:
    await rest(driver, transport)
    kept, left = started_reads(transport, 2)
    assert left.started is not None
    left.started.abandon()
    driver.read_errno = errno.EPERM
    driver.wake()
    assert BUSY_POLL.look()
    assert not BUSY_POLL.look()
    assert [type(how) for how in kept.told] == [TransportGone]
    assert left.told == []
    assert transport.stranded == 2
    await until_closed(driver)


# Closing -----------------------------------------------------------------------------------------------------------


async def test_closed_it_tells_and_the_last_answer_closes_the_descriptor(
    driver: FakeDriver, transport: SgTransport
) -> None:
    await rest(driver, transport)
    ones = started_reads(transport, 2)
    await transport.aclose()
    assert [type(how) for one in ones for how in one.told] == [TransportGone] * 2
    assert transport.stranded == 2
    assert not driver.is_closed
    driver.answer_all()
    assert BUSY_POLL.look()
    assert transport.stranded == 0
    await until_closed(driver)
    assert not BUSY_POLL.look(), "its number may be another's by now"
    assert [len(one.told) for one in ones] == [1, 1]


async def test_closed_idle_it_is_polled_no_more(driver: FakeDriver, transport: SgTransport) -> None:
    await rest(driver, transport)
    await transport.aclose()
    assert driver.is_closed
    assert not BUSY_POLL.look()
