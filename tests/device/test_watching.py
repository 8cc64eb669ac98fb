"""Underpaths that fail, are checked and come back; requests that wait for one."""

import errno
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.condition.rules import HealthRules, MarginalRule
from mpio_fuse.device.handle import Handle
from mpio_fuse.device.selection.rules import SelectionRules, SelectorName
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.underpath_rules import CheckerName, UnderpathRules
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, NoUsableUnderpath
from mpio_fuse.scsi.command import Command, HostStatus
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.target.refusal import check_condition
from tests.device.test_between import taken_by_b
from tests.device.test_reacting import is_read
from tests.device.world import KEYS, Host, World, stamp

pytestmark = [pytest.mark.virtual_clock, pytest.mark.expects_log("underpath (down|marginal)")]

UP, DOWN, DELAYED = UnderpathState.UP, UnderpathState.DOWN, UnderpathState.DELAYED
MINUTE = UnderpathRules(no_path_timeout_s=60)


def is_test_unit_ready(command: Command) -> bool:
    return command.cdb[0] == OpCode.TEST_UNIT_READY


def _states(host: Host) -> list[UnderpathState]:
    return [one.state for one in host.device.underpaths]


async def _until_down(host: Host, handle: Handle, index: int) -> None:
    host.links[index].go_down()
    while host.device.underpaths[index].state is UP:
        await handle.read(0, 512)


async def _reads(host: Host, handle: Handle, count: int = 4) -> list[int]:
    before = [one.counters.reads for one in host.device.underpaths]
    for _ in range(count):
        await handle.read(0, 512)
    after = [one.counters.reads for one in host.device.underpaths]
    return [late - early for early, late in zip(before, after, strict=True)]


# -- coming back


@pytest.mark.hazard(23)
async def test_what_comes_back_serves_a_hold_down_first(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await _until_down(host, handle, 0)
    host.links[0].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(6)
        assert _states(host) == [DELAYED, UP]
        assert world.keys == [KEYS["a"]] * 2
        assert await _reads(host, handle) == [0, 4]
        await trio.sleep(10)
        assert _states(host) == [UP, UP]
        assert await _reads(host, handle) == [2, 2]
        nursery.cancel_scope.cancel()


async def test_held_down_it_carries_what_no_other_can(autojump_clock: MockClock) -> None:
    host = await World().host("a")
    handle = await host.device.open()
    await _until_down(host, handle, 0)
    host.links[0].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(6)
        host.links[1].go_down()
        assert await _reads(host, handle) == [4, 0]
        assert _states(host) == [DELAYED, DOWN]
        nursery.cancel_scope.cancel()


@pytest.mark.hazard(23)
async def test_one_that_says_ready_and_fails_is_used_ever_less(autojump_clock: MockClock) -> None:
    """TEST UNIT READY passes and reads fail: it goes round a few times, and then only where no other is."""
    marginal = MarginalRule(failures=3, window_s=120, rest_s=600)
    rules = UnderpathRules(health=HealthRules(marginal=marginal), no_path_timeout_s=0)
    host = await World().host("a", rules=rules)
    handle = await host.device.open()
    host.links[0].lose_commands(None, is_read, host_status=HostStatus.ERROR, after_s=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        for _ in range(500):
            await handle.read(0, 512)
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    first, other = host.device.underpaths
    assert first.counters.failures == 3
    assert other.counters.reads == 500
    assert host.device.snapshot().underpaths[0].is_marginal


async def test_the_read_checker_does_not_believe_it(autojump_clock: MockClock) -> None:
    rules = UnderpathRules(checker=CheckerName.READ, no_path_timeout_s=0)
    host = await World().host("a", rules=rules)
    handle = await host.device.open()
    fault = host.links[0].lose_commands(None, is_read, host_status=HostStatus.ERROR, after_s=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await handle.read(0, 512)
        await trio.sleep(60)
        assert _states(host) == [DOWN, UP]
        host.links[0].faults.remove(fault)
        await trio.sleep(60)
        assert _states(host) == [UP, UP]
        nursery.cancel_scope.cancel()


@pytest.mark.hazard(25)
async def test_a_check_that_hangs_delays_no_other(autojump_clock: MockClock) -> None:
    host = await World().host("a", underpaths=3, control_timeout_s=100)
    handle = await host.device.open()
    await _until_down(host, handle, 0)
    await _until_down(host, handle, 1)
    for link in host.links[:2]:
        link.come_up()
    host.links[0].times_out = False
    host.links[0].lose_commands(None, is_test_unit_ready)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(6)
        assert _states(host) == [DOWN, DELAYED, UP]
        nursery.cancel_scope.cancel()


async def test_an_idle_underpath_that_dies_is_found_by_its_check(autojump_clock: MockClock) -> None:
    host = await World().host("a")
    host.links[0].go_down()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(21)
        nursery.cancel_scope.cancel()
    assert _states(host) == [DOWN, UP]
    assert host.device.underpaths[0].last_failure == "TEST UNIT READY: host status 0x01 NO_CONNECT"


async def test_many_commands_that_fail_together_are_one_record(
    autojump_clock: MockClock, announce_log: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """With LUN, underpath, state before, and the cause with its sense in words."""
    announce_log(
        "underpath down lun=naa.* underpath=a1 before=up "
        "cause=READ.*: CHECK CONDITION: ILLEGAL REQUEST 25/00 logical unit not supported"
    )
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    unmapped = check_condition(SenseKey.ILLEGAL_REQUEST, (0x25, 0x00))
    world.model.interfere(unmapped, count=None, opcode=OpCode.READ_10, nexus=host.nexus(0))
    host.links[0].arrival_s = 0.1
    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(handle.read, 4096 * number, 512)
    told = [one.msg for one in caplog.records if isinstance(one.msg, dict)]
    assert [one["underpath"] for one in told if one["event"] == "underpath down"] == ["a1"]


# -- waiting for one


async def test_a_request_waits_for_an_underpath_and_goes_on(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", rules=MINUTE)
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        nursery.start_soon(handle.write, 0, stamp("waits"))
        await trio.sleep(40)
        assert not world.model.medium.history
        host.links[1].come_up()
        await trio.sleep(6)
        assert world.model.medium.history
        host.links[1].go_down()  # that is another outage, with a time of its own
        started_s = trio.current_time()
        with pytest.raises(NoUsableUnderpath):
            await handle.read(0, 512)
        assert trio.current_time() - started_s >= 60
        nursery.cancel_scope.cancel()


@pytest.mark.hazard(22)
async def test_it_does_not_wait_for_ever_nor_does_the_next(autojump_clock: MockClock) -> None:
    """The time is the outage's: a program that repeats its request does not wait anew."""
    host = await World().host("a", rules=MINUTE)
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    started_s = trio.current_time()
    with pytest.raises(NoUsableUnderpath, match=r"no underpath left .*NO_CONNECT") as error:
        await handle.read(0, 512)
    assert error.value.errno == errno.EIO
    assert 60 <= trio.current_time() - started_s <= 61
    with pytest.raises(NoUsableUnderpath):
        await handle.read(0, 512)
    assert trio.current_time() - started_s <= 61


async def test_before_a_request_fails_all_are_asked_once_more(autojump_clock: MockClock) -> None:
    """Nobody watches here: what is back is found because a request needs it."""
    host = await World().host("a", rules=UnderpathRules(no_path_timeout_s=0))
    handle = await host.device.open()
    await _until_down(host, handle, 0)
    host.links[0].come_up()
    host.links[1].go_down()
    assert len(await handle.read(0, 512)) == 512
    assert _states(host) == [DELAYED, DOWN]


@pytest.mark.hazard(22)
async def test_too_many_do_not_wait(autojump_clock: MockClock) -> None:
    host = await World().host("a", rules=UnderpathRules(no_path_timeout_s=60, no_path_requests=3))
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    ended_s: list[float] = []

    async def read(number: int) -> None:
        with pytest.raises(NoUsableUnderpath):
            await handle.read(4096 * number, 512)
        ended_s.append(trio.current_time())

    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(read, number)
    assert sorted(one - started_s >= 60 for one in ended_s) == [False] * 7 + [True] * 3


@pytest.mark.hazard(22)
@pytest.mark.expects_log("flush at the last close failed|release postponed")
async def test_unmounting_ends_the_waiting(autojump_clock: MockClock) -> None:
    host = await World().host("a", rules=MINUTE)
    handle = await host.device.open()
    for link in host.links:
        link.go_down()

    async def write() -> None:
        with pytest.raises(NoUsableUnderpath):
            await handle.write(0, stamp("waits"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.sleep(5)
        started_s = trio.current_time()
        with pytest.raises(Exception, match="left at the array"):
            await host.device.remove()
        assert trio.current_time() - started_s < 15
    assert trio.current_time() - started_s < 15


async def test_a_close_waits_without_keeping_underpaths_out(autojump_clock: MockClock) -> None:
    """It flushes before it takes the lock that an underpath's return needs."""
    world = World()
    host = await world.host("a", rules=MINUTE)
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        nursery.start_soon(handle.aclose)
        await trio.sleep(20)
        host.links[0].come_up()
        await trio.sleep(6)
        assert world.holder is None
        nursery.cancel_scope.cancel()


@pytest.mark.expects_log("fenced")
async def test_a_request_that_waits_is_told_when_it_is_fenced(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", rules=MINUTE)
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    taken_by_b(world)()

    async def write() -> None:
        with pytest.raises(Fenced):
            await handle.write(0, stamp("no"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        nursery.start_soon(write)
        await trio.sleep(10)
        host.links[0].come_up()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert not world.model.medium.history


# -- which one


@pytest.mark.expects_log("underpath down")
async def test_service_time_prefers_the_faster(autojump_clock: MockClock) -> None:
    rules = UnderpathRules(selection=SelectionRules(SelectorName.SERVICE_TIME), no_path_timeout_s=0)
    host = await World().host("a", rules=rules)
    handle = await host.device.open()
    host.links[0].answer_s, host.links[1].answer_s = 0.2, 0.02
    slow, fast = await _reads(host, handle, 100)
    assert fast > 3 * slow
    host.links[1].go_down()
    assert await _reads(host, handle, 4) == [4, 0]
