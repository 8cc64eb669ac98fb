"""The queue of the sg transport against a driver that answers when the test says so."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import MpioError, TransportError, TransportGone
from mpio_fuse.scsi.block import read
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.transport.busy_poll import BUSY_POLL
from mpio_fuse.transport.sg.native import QUEUE_DEPTH, Answer
from mpio_fuse.transport.sg.transport import SgTransport
from mpio_fuse.transport.slots import Slots
from tests.transport.conformance import StartedCommand
from tests.transport.fake_driver import FakeDriver, FakeNode

BLOCK = 512
End = Completion | MpioError | None


def make_transport(node: FakeNode, host_tags: Slots | None = None) -> SgTransport:
    return SgTransport("/dev/sg9", node.node, node.driver, host_tags or Slots(1000))


def read_of(lba: int) -> Command:
    return read(lba, bytearray(BLOCK), BLOCK)


class Readers:
    """Tasks that each wait for one read; ``ends`` tells how, None for a cancelled one."""

    def __init__(self, transport: SgTransport, nursery: trio.Nursery) -> None:
        self.transport = transport
        self.nursery = nursery
        self.ends: dict[int, End] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def start(self, *lbas: int) -> None:
        for lba in lbas:
            self.scopes[lba] = trio.CancelScope()
            self.nursery.start_soon(self._one, lba)
            await wait_all_tasks_blocked()

    async def cancel(self, lba: int) -> None:
        self.scopes[lba].cancel()
        await wait_all_tasks_blocked()

    async def _one(self, lba: int) -> None:
        end: End = None
        try:
            with self.scopes[lba]:
                end = await self.transport.execute(read_of(lba))
        except TransportGone as error:
            end = error
        assert lba not in self.ends
        self.ends[lba] = end


@pytest.fixture
def node() -> Iterator[FakeNode]:
    node = FakeNode()
    yield node
    node.close()


@pytest.fixture
def driver(node: FakeNode) -> FakeDriver:
    return node.driver


@pytest.fixture
async def transport(node: FakeNode) -> AsyncIterator[SgTransport]:
    transport = make_transport(node)
    yield transport
    await transport.aclose()


@pytest.fixture
async def readers(transport: SgTransport, nursery: trio.Nursery) -> Readers:
    return Readers(transport, nursery)


async def answer(driver: FakeDriver, lba: int, completion: Completion | None = None) -> None:
    driver.answer(driver.by_lba(lba), completion)
    await wait_all_tasks_blocked()


async def test_answers_in_any_order_go_to_their_own_callers(
    driver: FakeDriver, readers: Readers
) -> None:
    await readers.start(1, 2, 3)
    given = {lba: Completion(status=Status.BUSY, residual_bytes=lba) for lba in (1, 2, 3)}
    for lba in (2, 3, 1):
        await answer(driver, lba, given[lba])
    assert readers.ends == given


async def test_never_more_than_the_driver_keeps_and_in_order_of_arrival(
    driver: FakeDriver, readers: Readers
) -> None:
    await readers.start(*range(QUEUE_DEPTH + 3))
    assert len(driver.sent) == QUEUE_DEPTH
    for expected, ended in ((16, 7), (17, 0), (18, 11)):
        await answer(driver, ended)
        assert driver.sent[-1].cdb == read_of(expected).cdb
    driver.answer_all()


async def test_a_newcomer_does_not_overtake_who_waits(driver: FakeDriver, readers: Readers) -> None:
    await readers.start(*range(QUEUE_DEPTH + 1))
    driver.answer(driver.by_lba(0))
    await readers.start(99)
    assert [sent.cdb for sent in driver.sent[QUEUE_DEPTH:]] == [read_of(QUEUE_DEPTH).cdb]


@pytest.mark.hazard(25)
async def test_cancelled_command_keeps_its_slot_and_buffer_until_answered(
    driver: FakeDriver, readers: Readers, transport: SgTransport
) -> None:
    await readers.start(*range(QUEUE_DEPTH + 1))
    await readers.cancel(3)
    assert readers.ends == {3: None}
    assert transport.stranded == 1
    assert len(driver.sent) == QUEUE_DEPTH
    await answer(driver, 3)
    assert transport.stranded == 0
    assert len(driver.sent) == QUEUE_DEPTH + 1


async def test_cancelled_while_waiting_it_is_not_sent_and_others_keep_their_order(
    driver: FakeDriver, readers: Readers, transport: SgTransport
) -> None:
    await readers.start(*range(QUEUE_DEPTH + 3))
    await readers.cancel(QUEUE_DEPTH)
    assert transport.stranded == 0
    await answer(driver, 0)
    assert driver.sent[-1].cdb == read_of(QUEUE_DEPTH + 1).cdb


async def test_cancelled_while_waiting_for_a_tag_it_gives_its_slot_back(
    node: FakeNode, nursery: trio.Nursery
) -> None:
    host_tags = Slots(QUEUE_DEPTH)
    tags = [await host_tags.take(None) for _ in range(QUEUE_DEPTH)]
    transport = make_transport(node, host_tags)
    readers = Readers(transport, nursery)
    await readers.start(0)
    await readers.cancel(0)
    for tag in tags:
        host_tags.give_back(tag)
    await readers.start(*range(1, QUEUE_DEPTH + 1))
    assert len(node.driver.sent) == QUEUE_DEPTH
    await transport.aclose()


async def test_one_hosts_tags_bound_all_its_nodes(nursery: trio.Nursery) -> None:
    nodes = [FakeNode(), FakeNode()]
    host_tags = Slots(3)
    transports = [make_transport(node, host_tags) for node in nodes]
    first, second = (Readers(transport, nursery) for transport in transports)
    await first.start(0, 1)
    await second.start(0, 1)
    assert [len(node.driver.sent) for node in nodes] == [2, 1]
    await answer(nodes[0].driver, 0)
    assert [len(node.driver.sent) for node in nodes] == [2, 2]
    for transport, node in zip(transports, nodes, strict=True):
        await transport.aclose()
        node.driver.answer_all()
        await wait_all_tasks_blocked()
        assert node.driver.is_closed
        node.close()


async def test_closing_ends_only_its_own_waits_for_host_tags(nursery: trio.Nursery) -> None:
    nodes = [FakeNode(), FakeNode()]
    host_tags = Slots(1)
    transports = [make_transport(node, host_tags) for node in nodes]
    first, second = (Readers(transport, nursery) for transport in transports)
    await first.start(0, 1)
    await second.start(0)
    await transports[0].aclose()
    await wait_all_tasks_blocked()
    assert [type(end) for end in first.ends.values()] == [TransportGone] * 2
    assert second.ends == {}
    nodes[0].driver.answer(nodes[0].driver.by_lba(0))
    await wait_all_tasks_blocked()
    await answer(nodes[1].driver, 0)
    assert second.ends == {0: Completion()}
    await transports[1].aclose()
    for node in nodes:
        node.close()


async def test_closed_in_the_moment_a_place_is_handed_over(
    node: FakeNode, nursery: trio.Nursery
) -> None:
    host_tags = Slots(1)
    tag = await host_tags.take(None)
    transport = make_transport(node, host_tags)
    readers = Readers(transport, nursery)
    await readers.start(0)
    host_tags.give_back(tag)
    await transport.aclose()
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone]
    assert node.driver.sent == []
    assert await host_tags.take(None) == tag, "it gave its place back"


async def test_hang_up_refuses_the_waiting_and_lets_those_in_flight_end(
    driver: FakeDriver, readers: Readers, transport: SgTransport
) -> None:
    await readers.start(*range(QUEUE_DEPTH + 1))
    driver.hang_up()
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone]
    with pytest.raises(TransportGone, match=r"/dev/sg9.*deleted"):
        await transport.execute(read_of(0))
    last = Completion(host_status=HostStatus.NO_CONNECT)
    driver.answer_all(last)
    with trio.fail_after(30):
        while len(readers.ends) <= QUEUE_DEPTH:  # noqa: ASYNC110 (a hung-up node is polled)
            await trio.sleep(0.01)
    assert list(readers.ends.values())[1:] == [last] * QUEUE_DEPTH


async def test_enodev_refuses_all_later_commands(
    driver: FakeDriver, transport: SgTransport
) -> None:
    driver.refusals = [errno.ENODEV]
    for _ in range(2):
        with pytest.raises(TransportGone, match="deleted"):
            await transport.execute(read_of(0))
    assert driver.sent == []


async def test_enxio_is_a_completion_and_the_next_command_works(
    driver: FakeDriver, transport: SgTransport, readers: Readers
) -> None:
    driver.refusals = [errno.ENXIO]
    completion = await transport.execute(read_of(0))
    assert completion == Completion(host_status=HostStatus.NO_CONNECT)
    await readers.start(1)
    await answer(driver, 1)
    assert readers.ends == {1: Completion()}


@pytest.mark.parametrize("refusal", [errno.ENOMEM, errno.EDOM, errno.EAGAIN])
async def test_no_room_is_waited_for(driver: FakeDriver, readers: Readers, refusal: int) -> None:
    driver.refusals = [refusal] * 4
    await readers.start(1)
    with trio.fail_after(5):
        while not driver.sent:  # noqa: ASYNC110 (the driver announces nothing)
            await trio.sleep(0.01)
    await answer(driver, 1)
    assert readers.ends == {1: Completion()}


async def test_no_room_for_long_is_told_as_not_sent(
    driver: FakeDriver, transport: SgTransport
) -> None:
    driver.refusals = [errno.ENOMEM] * 100
    assert await transport.execute(read_of(0)) == Completion(host_status=HostStatus.REQUEUE)
    assert driver.sent == []


async def test_eperm_says_who_may_use_a_node(driver: FakeDriver, transport: SgTransport) -> None:
    driver.refusals = [errno.EPERM]
    with pytest.raises(
        TransportError, match=r"READ.*not permitted\); .*opened by the process"
    ) as raised:
        await transport.execute(read_of(0))
    assert not isinstance(raised.value, TransportGone)


async def test_a_refused_command_gives_its_places_back(
    driver: FakeDriver, transport: SgTransport, readers: Readers
) -> None:
    for _ in range(QUEUE_DEPTH + 1):
        driver.refusals = [errno.EINVAL]
        with pytest.raises(TransportError):
            await transport.execute(read_of(0))
    await readers.start(*range(QUEUE_DEPTH))
    assert len(driver.sent) == QUEUE_DEPTH


async def test_unreadable_node_ends_everything(
    driver: FakeDriver, readers: Readers, transport: SgTransport
) -> None:
    await readers.start(*range(QUEUE_DEPTH + 1))
    driver.read_errno = errno.EPERM
    driver.wake()
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone] * (QUEUE_DEPTH + 1)
    assert driver.is_closed
    assert transport.stranded == QUEUE_DEPTH, "what became of them can no longer be learnt"


@pytest.mark.parametrize("slot", [-1, 5, QUEUE_DEPTH, 2**31 - 1])
async def test_an_answer_to_nothing_is_not_believed(
    driver: FakeDriver, readers: Readers, slot: int
) -> None:
    await readers.start(0)
    driver.deliver(Answer(slot, driver.sent[0].tag, Completion()))
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone]


async def test_an_answer_with_another_tag_is_not_believed(
    driver: FakeDriver, readers: Readers
) -> None:
    await readers.start(0)
    driver.deliver(Answer(driver.sent[0].slot, driver.sent[0].tag + 1, Completion()))
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone]


async def test_closed_idle_the_descriptor_is_closed(
    driver: FakeDriver, transport: SgTransport
) -> None:
    await transport.aclose()
    assert driver.is_closed


async def test_closed_busy_the_descriptor_stays_until_the_last_answer(
    driver: FakeDriver, readers: Readers, transport: SgTransport
) -> None:
    await readers.start(0, 1)
    await transport.aclose()
    await wait_all_tasks_blocked()
    assert [type(end) for end in readers.ends.values()] == [TransportGone] * 2
    for lba, left in ((0, 1), (1, 0)):
        assert not driver.is_closed
        await answer(driver, lba)
        assert transport.stranded == left
    assert driver.is_closed


def test_the_end_of_the_run_closes_the_descriptor() -> None:
    node = FakeNode()

    async def forgets_to_close() -> None:
        make_transport(node)
        await wait_all_tasks_blocked()

    trio.run(forgets_to_close)
    assert node.driver.is_closed
    node.close()


class Play:
    """One transport to which everything happens; the methods are the steps."""

    def __init__(self, node: FakeNode, nursery: trio.Nursery) -> None:
        self.driver = node.driver
        self.transport = make_transport(node, Slots(12))
        self.readers = Readers(self.transport, nursery)
        self.started: list[StartedCommand] = []
        self.abandoned: set[int] = set()

    async def execute(self, _choice: int) -> None:
        await self.readers.start(len(self.readers.scopes))

    async def start(self, choice: int) -> None:
        self.started.append(StartedCommand(self.transport, read_of(choice)))

    async def answer(self, choice: int) -> None:
        if self.driver.held:
            self.driver.answer(list(self.driver.held.values())[choice % len(self.driver.held)])

    async def look(self, _choice: int) -> None:
        BUSY_POLL.look()

    async def rest(self, _choice: int) -> None:
        await wait_all_tasks_blocked()

    async def cancel(self, choice: int) -> None:
        if self.readers.scopes:
            await self.readers.cancel(choice % len(self.readers.scopes))

    async def abandon(self, choice: int) -> None:
        if self.started:
            index = choice % len(self.started)
            one = self.started[index]
            if one.started is not None and not one.told:
                one.started.abandon()
                self.abandoned.add(index)

    async def close(self, choice: int) -> None:
        if choice < 10:
            await self.transport.aclose()

    async def hang_up(self, choice: int) -> None:
        if choice < 10 and not self.driver.is_closed:
            self.driver.hang_up()

    def was_told_once(self) -> bool:
        """Whoever started a command, unless it was abandoned; and nobody else."""
        return all(
            len(one.told) == (one.started is not None and index not in self.abandoned)
            for index, one in enumerate(self.started)
        )


Step = Callable[[Play, int], Awaitable[None]]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                Play.execute,
                Play.start,
                Play.answer,
                Play.look,
                Play.rest,
                Play.cancel,
                Play.abandon,
                Play.close,
                Play.hang_up,
            ]
        ),
        st.integers(0, 99),
    ),
    max_size=80,
)


async def _play(node: FakeNode, steps: list[tuple[Step, int]]) -> None:
    async with trio.open_nursery() as nursery:
        play = Play(node, nursery)
        transport, driver = play.transport, play.driver
        for step, choice in steps:
            await step(play, choice)
        await wait_all_tasks_blocked()
        assert transport.stranded <= len(driver.held) or driver.hung_up(), (
            "it is polled at intervals"
        )
        driver.answer_all()
        await transport.aclose()
    assert play.readers.ends.keys() == play.readers.scopes.keys(), "every execute ends once"
    with trio.fail_after(30):
        while transport.stranded or not driver.is_closed:  # noqa: ASYNC110 (may be polled)
            await trio.sleep(0.01)
    assert play.was_told_once()
    assert not BUSY_POLL.look()


@given(steps=STEPS)
def test_every_command_ends_once_whatever_happens(steps: list[tuple[Step, int]]) -> None:
    node = FakeNode()
    try:
        trio.run(_play, node, steps)
    finally:
        node.close()
