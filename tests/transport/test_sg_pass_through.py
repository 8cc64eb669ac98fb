"""The threads of the sg transport, with commands that hang until the test lets them end."""

import errno
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.sg.pass_through import THREADS, Call, PassThroughLane, TooLate
from mpio_fuse.transport.sg.transport import SgTransport
from mpio_fuse.transport.slots import Slots
from tests.transport.fake_driver import FakeNode

HANG_S = 30.0


class HungLibrary:
    """A pass-through whose commands end when told to, with ``error`` or GOOD."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.started = threading.Semaphore(0)
        self.cdbs: list[bytes] = []
        self.resets = 0
        self.error = 0

    def run(self, fd: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> Completion:
        del phase, timeout_s
        self.cdbs.append(cdb)
        self._hang(fd)
        return Completion()

    def reset(self, fd: int) -> None:
        self.resets += 1
        self._hang(fd)

    def _hang(self, fd: int) -> None:
        os.fstat(fd)
        self.started.release()
        assert self.may_end.wait(HANG_S)
        os.fstat(fd)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    async def wait_started(self, count: int) -> None:
        for _ in range(count):
            assert await trio.to_thread.run_sync(self.started.acquire, True, HANG_S)  # noqa: FBT003


@pytest.fixture
def node() -> Iterator[FakeNode]:
    node = FakeNode()
    yield node
    node.close()


@pytest.fixture
def library() -> Iterator[HungLibrary]:
    library = HungLibrary()
    yield library
    library.may_end.set()


@pytest.fixture
async def transport(node: FakeNode, library: HungLibrary) -> AsyncIterator[SgTransport]:
    transport = SgTransport(
        "/dev/sg9", node.node, node.driver, Slots(100), library.run, library.reset
    )
    yield transport
    await transport.aclose()


async def settle(transport: SgTransport) -> None:
    with trio.fail_after(HANG_S):
        while transport.stranded:  # noqa: ASYNC110 (threads end unannounced)
            await trio.sleep(0.005)


async def leave_behind(transport: SgTransport, library: HungLibrary, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(transport.execute, test_unit_ready())
        await library.wait_started(count)
        nursery.cancel_scope.cancel()


async def test_control_commands_do_not_touch_the_queue(
    transport: SgTransport, library: HungLibrary, node: FakeNode
) -> None:
    library.may_end.set()
    assert await transport.execute(inquiry()) == Completion()
    assert library.cdbs == [inquiry().cdb]
    assert node.driver.sent == []


async def test_cancelled_it_returns_at_once_and_counts_until_it_ends(
    transport: SgTransport, library: HungLibrary
) -> None:
    await leave_behind(transport, library, 1)
    assert transport.stranded == 1
    library.may_end.set()
    await settle(transport)


async def test_a_hang_takes_no_more_than_its_threads(
    transport: SgTransport, library: HungLibrary
) -> None:
    await leave_behind(transport, library, THREADS)
    assert transport.stranded == THREADS
    async with trio.open_nursery() as waiting:
        for _ in range(20):
            waiting.start_soon(transport.execute, inquiry())
        await wait_all_tasks_blocked()
        waiting.cancel_scope.cancel()
    assert library.cdbs == [test_unit_ready().cdb] * THREADS, "what waits is not sent"
    assert transport.stranded == THREADS
    library.may_end.set()
    assert (await transport.execute(inquiry())).is_good


async def test_data_commands_go_on_during_a_hang(
    transport: SgTransport, library: HungLibrary, node: FakeNode, nursery: trio.Nursery
) -> None:
    await leave_behind(transport, library, THREADS)
    sync = Command("SYNCHRONIZE CACHE(10)", bytes([0x35]) + bytes(9))
    nursery.start_soon(transport.execute, sync)
    await wait_all_tasks_blocked()
    (sent,) = node.driver.sent
    node.driver.answer(sent)


async def test_closing_ends_waits_and_leaves_the_descriptor_to_the_last_thread(
    transport: SgTransport, library: HungLibrary, node: FakeNode
) -> None:
    errors: list[Exception] = []

    async def one() -> None:
        try:
            await transport.execute(test_unit_ready())
        except TransportGone as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(THREADS + 2):
            nursery.start_soon(one)
        await library.wait_started(THREADS)
        await transport.aclose()
    assert len(errors) == THREADS + 2
    assert transport.stranded == THREADS
    assert not node.is_control_closed
    library.may_end.set()
    await settle(transport)
    with trio.fail_after(HANG_S):
        while not node.is_control_closed:  # noqa: ASYNC110 (threads end unannounced)
            await trio.sleep(0.005)
    assert len(library.cdbs) == THREADS


async def test_closed_idle_the_descriptor_is_closed(transport: SgTransport, node: FakeNode) -> None:
    await transport.aclose()
    assert node.is_control_closed


async def test_cancelled_by_the_caller_and_by_closing_at_once(
    transport: SgTransport, library: HungLibrary
) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.execute, test_unit_ready())
            await library.wait_started(1)
            scope.cancel()
            await transport.aclose()
    assert scope.cancelled_caught


async def test_what_a_thread_gets_too_late_is_not_sent(
    node: FakeNode, library: HungLibrary
) -> None:
    """A thread may begin after its call was cancelled, or after its descriptor was closed."""
    library.may_end.set()
    lane = PassThroughLane(
        node.node.control_fd, lambda: TransportGone("closed"), library.run, library.reset
    )
    with pytest.raises(TooLate):
        lane.run_in_thread(Call(library.reset, abandoned=True))
    lane.run_in_thread(Call(library.reset))
    lane.end()
    with pytest.raises(TooLate):
        lane.run_in_thread(Call(library.reset))
    assert library.resets == 1
    os.close(node.node.queue_fd)


async def test_offline_is_a_completion(transport: SgTransport, library: HungLibrary) -> None:
    library.may_end.set()
    library.error = errno.ENXIO
    completion = await transport.execute(inquiry())
    assert completion == Completion(host_status=HostStatus.NO_CONNECT)


async def test_deleted_is_gone_for_data_too(
    transport: SgTransport, library: HungLibrary, node: FakeNode
) -> None:
    library.may_end.set()
    library.error = errno.ENODEV
    for command in (inquiry(), Command("SYNCHRONIZE CACHE(10)", bytes([0x35]) + bytes(9))):
        with pytest.raises(TransportGone, match="/dev/sg9"):
            await transport.execute(command)
    assert node.driver.sent == []
