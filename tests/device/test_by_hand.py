"""Underpaths that an administrator fails and reinstates."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.condition.rules import HealthRules
from mpio_fuse.device.selection.rules import Failback, SelectionRules, SelectorName
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO, TGT, Quirks
from tests.device.world import KEYS, Host, World, stamp

pytestmark = [pytest.mark.virtual_clock, pytest.mark.expects_log("underpath down")]

QUIRKS = pytest.mark.parametrize("quirks", [LIO, TGT], ids=lambda one: one.name)


async def _reads(host: Host, count: int) -> list[int]:
    """How many of that many reads each underpath carries."""
    handle = await host.device.open()
    before = [one.counters.reads for one in host.device.underpaths]
    for _ in range(count):
        await handle.read(0, 512)
    await handle.aclose()
    after = [one.counters.reads for one in host.device.underpaths]
    return [late - early for early, late in zip(before, after, strict=True)]


@QUIRKS
@pytest.mark.parametrize("index", [0, 1])
async def test_one_that_was_failed_carries_nothing_and_keeps_nothing(
    index: int, quirks: Quirks, autojump_clock: MockClock
) -> None:
    """Also when it holds the reservation, which moves; and whatever checks would say."""
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a")
    handle = await host.device.open()
    name = host.device.underpaths[index].name
    await host.device.fail_underpath(name)
    assert (world.holder, world.keys) == (KEYS["a"], [KEYS["a"]])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(100)
        for number in range(4):
            await handle.write(4096 * number, stamp(str(number)))
        nursery.cancel_scope.cancel()
    await handle.aclose()
    assert (await _reads(host, 4))[index] == 0
    assert world.keys == [KEYS["a"]]
    shown = host.device.snapshot().underpaths[index]
    assert (shown.state, shown.is_held_out, shown.carries) == ("down", True, "no")
    await host.device.remove()
    assert world.keys == []


async def test_reinstated_it_carries_at_once(autojump_clock: MockClock) -> None:
    """Its hold-down, from a failure before, does not keep it."""
    world = World()
    host = await world.host("a")
    host.links[0].go_down()
    await _reads(host, 2)
    await host.device.fail_underpath("a1")
    host.links[0].come_up()
    await host.device.reinstate_underpath("a1")
    assert host.device.underpaths[0].state is UnderpathState.UP
    assert world.keys == [KEYS["a"]] * 2
    assert await _reads(host, 4) == [2, 2]


async def test_reinstated_and_silent_it_is_told(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    await host.device.fail_underpath("a1")
    host.links[0].go_down()
    with pytest.raises(MpioError, match=r"a1: not back in service \(TEST UNIT READY: .*NO_CONNECT"):
        await host.device.reinstate_underpath("a1")
    host.links[0].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(11.7)
        nursery.cancel_scope.cancel()
    assert host.device.underpaths[0].is_usable


async def test_the_last_usable_one_of_an_open_device_is_not_failed(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await host.device.fail_underpath("a1")
    with pytest.raises(MpioError, match="the last usable underpath"):
        await host.device.fail_underpath("a2")
    await handle.write(0, stamp("goes on"))


async def test_commands_under_way_there_are_waited_for(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].execution_s = 3.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.write, 0, stamp("slow"))
        await trio.sleep(1)
        await host.device.fail_underpath("a1")
        assert bytes(await handle.read(0, 4096)) == stamp("slow")
    assert world.keys == [KEYS["a"]]


async def test_reinstating_goes_back_to_its_group(autojump_clock: MockClock) -> None:
    """With manual failback nothing else does."""
    rules = UnderpathRules(
        health=HealthRules(hold_down_s=0),
        selection=SelectionRules(SelectorName.FAILOVER_ONLY, Failback(None)),
        no_path_timeout_s=0,
    )
    host = await World().host("a", rules=rules)
    assert await _reads(host, 4) == [4, 0]
    await host.device.fail_underpath("a1")
    assert await _reads(host, 4) == [0, 4]
    assert [one.carries for one in host.device.snapshot().underpaths] == ["no", "yes"]
    await host.device.reinstate_underpath("a1")
    assert await _reads(host, 4) == [4, 0]
    assert [one.carries for one in host.device.snapshot().underpaths] == ["yes", "at need"]


async def test_an_unknown_one_is_one_line(autojump_clock: MockClock) -> None:
    host = await World().host("a")
    await host.device.fail_underpath("a1")
    for act in (host.device.fail_underpath, host.device.reinstate_underpath):
        with pytest.raises(MpioError, match="no such underpath"):
            await act("a9")
