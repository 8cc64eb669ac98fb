"""Data commands that are started, not executed: whatever ends them, nothing is lost, counted twice or let through."""

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mpio_fuse.device.handle import Handle
from mpio_fuse.device.registrar import TYPE
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.errors import Fenced, MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import HostStatus
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import StartingSimulatedTransport
from tests.device.test_between import pr_out_action, taken_by_b
from tests.device.test_failover import is_write
from tests.device.world import KEYS, Host, World, stamp

pytestmark = pytest.mark.virtual_clock

MANY = 32
"""Twice what one transport carries: the rest is executed, and waits there."""

DATA = (OpCode.READ_10, OpCode.WRITE_10, OpCode.SYNCHRONIZE_CACHE_10)


def _world() -> World:
    return World(kind=StartingSimulatedTransport)


async def _all(acts: list[Callable[[], Awaitable[object]]]) -> list[object]:
    """All at once; what each gave, or the error that it raised."""
    ends: list[object] = [None] * len(acts)

    async def one(index: int, act: Callable[[], Awaitable[object]]) -> None:
        try:
            ends[index] = await act()
        except MpioError as error:
            ends[index] = error

    async with trio.open_nursery() as nursery:
        for index, act in enumerate(acts):
            nursery.start_soon(one, index, act)
    return ends


def _writes(handle: Handle, count: int = MANY) -> list[Callable[[], Awaitable[object]]]:
    def write(number: int) -> Callable[[], Awaitable[object]]:
        return lambda: handle.write(number * 4096, stamp(f"write {number}"))

    return [write(number) for number in range(count)]


def _reads(handle: Handle, count: int = MANY) -> list[Callable[[], Awaitable[object]]]:
    def read(number: int) -> Callable[[], Awaitable[object]]:
        return lambda: handle.read(number * 4096, 4096)

    return [read(number) for number in range(count)]


async def _is_well(host: Host, handle: Handle) -> None:
    """Nothing is counted that is over, the gate opens and closes, and every write is there."""
    assert [one.in_flight for one in host.device.underpaths] == [0] * len(host.transports)
    assert [one.in_flight_bytes for one in host.device.underpaths] == [0] * len(host.transports)
    with trio.fail_after(30):
        second = await host.device.open()
        await second.write(1 << 20, stamp("and on"))
        await second.aclose()
        assert bytes(await handle.read(1 << 20, 4096)) == stamp("and on")


async def _all_are_there(handle: Handle) -> None:
    for number in range(MANY):
        assert bytes(await handle.read(number * 4096, 4096)) == stamp(f"write {number}")


@pytest.mark.parametrize("answer_s", [0.0, 0.01], ids=["at once", "later"])
async def test_many_at_once_are_all_done_once(answer_s: float, autojump_clock: MockClock) -> None:
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.answer_s = answer_s
    world.model.log.clear()
    assert await _all(_writes(handle)) == [4096] * MANY
    assert sum(1 for one in world.model.log if one.cdb[0] == OpCode.WRITE_10) == MANY
    await _all_are_there(handle)
    await _is_well(host, handle)


@pytest.mark.expects_log("underpath down")
@pytest.mark.parametrize("stage", ["arrival_s", "execution_s", "answer_s"])
async def test_a_session_that_is_lost_under_many_loses_none(
    stage: str, autojump_clock: MockClock
) -> None:
    """All of one underpath end in one instant; behind one barrier they go over the other."""
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        setattr(link, stage, 0.5)
    world.model.log.clear()

    async def lose() -> None:
        await trio.sleep(0.25)
        host.links[0].go_down()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        assert await _all(_writes(handle)) == [4096] * MANY
    for link in host.links:
        setattr(link, stage, 0.0)
    await _all_are_there(handle)
    barriers = [line for line in world.sent(host) if line.endswith("PREEMPT_AND_ABORT")]
    assert len(barriers) == 1
    await _is_well(host, handle)


@pytest.mark.expects_log("underpath removed")
async def test_a_node_that_vanishes_under_many_loses_none(autojump_clock: MockClock) -> None:
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.execution_s = 0.5

    async def vanish() -> None:
        await trio.sleep(0.25)
        host.transports[0].vanish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(vanish)
        assert await _all(_writes(handle)) == [4096] * MANY
    for link in host.links:
        link.execution_s = 0.0
    await _all_are_there(handle)
    assert host.device.underpaths[0].state is UnderpathState.REMOVED
    await _is_well(host, handle)


@pytest.mark.expects_log("underpath down")
@pytest.mark.parametrize("turn", range(20))
async def test_our_time_and_the_transports_end_in_the_same_instant(
    turn: int, autojump_clock: MockClock
) -> None:
    """Whichever comes first, in an order that trio draws; a hundred and more of them."""
    world = _world()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    host.links[0].lose_answers(8, is_write, host_status=HostStatus.TIME_OUT, after_s=5)
    assert await _all(_writes(handle)) == [4096] * MANY
    await _all_are_there(handle)
    await trio.sleep(1)
    assert [one.stranded for one in host.transports] == [0, 0]
    await _is_well(host, handle)


@pytest.mark.hazard(1)
@pytest.mark.expects_log("underpath down .*an old command is still under way here")
async def test_a_write_cancelled_under_way_is_barred_before_the_next(
    autojump_clock: MockClock,
) -> None:
    """Its caller is interrupted; it lands all the same, but not over what came after."""
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].arrival_s = 20.0
    host.links[0].times_out = False
    with trio.move_on_after(1) as scope:
        await handle.write(0, stamp("old"))
    assert scope.cancelled_caught
    assert [one.in_flight for one in host.device.underpaths] == [0, 0]
    assert host.transports[0].stranded == 1
    host.links[0].arrival_s = 0.0
    await handle.write(0, stamp("new"))
    await trio.sleep(60)
    assert bytes(await handle.read(0, 4096)) == stamp("new")
    await _is_well(host, handle)


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
async def test_the_notice_that_a_cancelled_read_met_is_not_lost(autojump_clock: MockClock) -> None:
    """NO_RESERVE: the attention is all that ever tells of the preemption."""
    world = _world()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open(OpenOption.NO_RESERVE)
    third = Nexus("iqn.third", 1)
    for command in (
        pr_out.register_and_ignore_existing_key(KEYS["b"]),
        pr_out.preempt_and_abort(KEYS["b"], KEYS["a"], TYPE),
    ):
        while not world.model.execute(third, command.cdb, bytes(command.data_out)).is_good:
            pass
    host.links[0].answer_s = 0.5
    with trio.move_on_after(0.1):
        await handle.read(0, 4096)
    host.links[0].answer_s = 0.0
    await trio.sleep(1)
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))


@pytest.mark.parametrize("turn", range(10))
async def test_an_open_while_many_are_under_way_lets_none_through(
    turn: int, autojump_clock: MockClock
) -> None:
    """From its first REGISTER to the end of its last command nothing of data reaches the array."""
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.arrival_s = link.answer_s = 0.01
    world.model.log.clear()
    opened: list[Handle] = []

    async def open_again() -> None:
        await trio.sleep(0.005 * turn)
        opened.append(await host.device.open())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_again)
        for _ in range(3):
            assert await _all(_writes(handle)) == [4096] * MANY
    kinds = [one.cdb[0] for one in world.model.log]
    registers = [at for at, kind in enumerate(kinds) if kind == OpCode.PERSISTENT_RESERVE_OUT]
    reads = [at for at, kind in enumerate(kinds) if kind == OpCode.PERSISTENT_RESERVE_IN]
    assert registers
    between = kinds[registers[0] : reads[-1]]
    assert not [kind for kind in between if kind in DATA]
    await opened[0].aclose()
    await _is_well(host, handle)


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
@pytest.mark.parametrize("then_released", [False, True])
async def test_of_many_under_way_one_is_told_of_the_preemption(
    autojump_clock: MockClock, *, then_released: bool
) -> None:
    """All end, none lands after the preemption, and everybody is told EBADE for good."""
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.arrival_s, link.execution_s, link.answer_s = 0.01, 0.01, 0.01
    take = taken_by_b(world, then_released=then_released)
    ends: list[object] = []

    async def keep_on() -> None:
        ends.extend(await _all(_writes(handle) + _reads(handle)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_on)
        await trio.sleep(0.015)
        take()
    step = max(
        one.step
        for one in world.model.log
        if one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and one.cdb[1] == PrOut.PREEMPT_AND_ABORT
    )
    ours = {one.nexus for one in host.transports}
    late = [
        one
        for one in world.model.medium.history
        if one.kind is Kind.WRITE and one.nexus in ours and one.arrived > step
    ]
    # What had left when nobody holds the disk any more nobody can keep from landing.
    assert then_released or not late
    errors = [one for one in ends if isinstance(one, MpioError)]
    assert errors
    assert all(isinstance(one, Fenced) for one in errors)
    for again in (lambda: handle.write(0, stamp("no")), lambda: handle.read(0, 4096)):
        with pytest.raises(Fenced):
            await again()
    assert [one.in_flight for one in host.device.underpaths] == [0, 0]


async def test_closing_waits_for_what_is_under_way_and_the_next_owner_finds_it(
    autojump_clock: MockClock,
) -> None:
    """Closed by a cancelled user: what it left behind is dead or landed before another host may write."""
    world = _world()
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    for link in a.links:
        link.execution_s = 0.5
    with trio.move_on_after(0.1):
        await _all(_writes(handle))
    with trio.fail_after(300):
        await handle.aclose()
    new = await b.device.open(OpenOption.FORCED_OPEN)
    assert await _all(_writes(new)) == [4096] * MANY
    await trio.sleep(30)
    await _all_are_there(new)


@pytest.mark.expects_log("underpath down")
async def test_refused_in_the_call_that_starts_it_on_every_underpath(
    autojump_clock: MockClock,
) -> None:
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    ends = await _all(_reads(handle) + _writes(handle))
    assert {getattr(one, "errno", None) for one in ends} == {errno.EIO}
    for link in host.links:
        link.come_up()
    await host.device.checks.check_all()
    await trio.sleep(30)
    assert await _all(_writes(handle)) == [4096] * MANY
    await _all_are_there(handle)
    await _is_well(host, handle)


@pytest.mark.expects_log("underpath down")
async def test_a_preempt_of_our_own_meets_flights_of_a_hung_underpath(
    autojump_clock: MockClock,
) -> None:
    """Half of them hang, and come back after the barrier: aborted, refused or too late, but never twice."""
    world = _world()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    hung = host.links[1]
    hung.times_out, hung.execution_s = False, 30.0
    assert await _all(_writes(handle)) == [4096] * MANY
    hung.execution_s = 0.0
    for number in range(MANY):
        await handle.write(number * 4096, stamp(f"again {number}"))
    await trio.sleep(120)
    for number in range(MANY):
        assert bytes(await handle.read(number * 4096, 4096)) == stamp(f"again {number}")
    await wait_all_tasks_blocked()
    await _is_well(host, handle)


@pytest.mark.expects_log("underpath down")
async def test_the_barrier_itself_loses_its_answer_under_many(autojump_clock: MockClock) -> None:
    world = _world()
    host = await world.host("a", underpaths=3, io_timeout_s=5)
    handle = await host.device.open()
    host.links[0].times_out = False
    host.links[0].lose_answers(4, is_write)
    host.links[1].lose_answers(1, pr_out_action(PrOut.PREEMPT_AND_ABORT), after_s=0.1)
    assert await _all(_writes(handle)) == [4096] * MANY
    await _all_are_there(handle)
    await _is_well(host, handle)
