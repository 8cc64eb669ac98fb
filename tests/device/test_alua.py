"""Asymmetric access (ALUA): underpaths are used by what the array says of their target ports."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.handle import Handle
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import NoUsableUnderpath
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.target_port_groups import AccessState
from mpio_fuse.target import port_groups
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import TGT
from mpio_fuse.target.refusal import INVALID_FIELD
from tests.device.world import KEYS, Host, World, stamp

pytestmark = pytest.mark.virtual_clock

OPTIMIZED, NON_OPTIMIZED = AccessState.ACTIVE_OPTIMIZED, AccessState.ACTIVE_NON_OPTIMIZED
STANDBY, TRANSITIONING = AccessState.STANDBY, AccessState.TRANSITIONING


async def _world(*states: AccessState) -> tuple[World, Host]:
    world = World()
    for port, state in enumerate(states, 1):
        world.model.change_access(port, state)
    return world, await world.host("a", len(states))


async def _reads(host: Host, handle: Handle, count: int = 4) -> list[int]:
    """How many of that many reads each underpath carries."""
    before = [one.counters.reads for one in host.device.underpaths]
    for _ in range(count):
        await handle.read(0, 512)
    after = [one.counters.reads for one in host.device.underpaths]
    return [late - early for early, late in zip(before, after, strict=True)]


async def _while_watched(host: Host, seconds: float = 31.7) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def test_optimized_ports_alone_are_used_while_there_are_any(
    autojump_clock: MockClock,
) -> None:
    _, host = await _world(NON_OPTIMIZED, OPTIMIZED, OPTIMIZED)
    handle = await host.device.open()
    assert await _reads(host, handle) == [0, 2, 2]
    shown = [(one.access, one.carries) for one in host.device.snapshot().underpaths]
    assert shown == [
        ("active/non-optimized", "at need"),
        ("active/optimized", "yes"),
        ("active/optimized", "yes"),
    ]


@pytest.mark.expects_log("underpath down")
async def test_without_them_the_others_are(autojump_clock: MockClock) -> None:
    _, host = await _world(NON_OPTIMIZED, OPTIMIZED)
    handle = await host.device.open()
    host.links[1].go_down()
    assert await _reads(host, handle) == [4, 0]


async def test_a_preferred_port_goes_before_its_equals(autojump_clock: MockClock) -> None:
    world = World()
    world.model.change_access(2, OPTIMIZED, is_preferred=True)
    host = await world.host("a")
    handle = await host.device.open()
    assert await _reads(host, handle) == [0, 4]


async def test_a_change_is_followed(autojump_clock: MockClock) -> None:
    """The array tells of it by unit attention 2A/06, which is no reason to look at anything else."""
    world, host = await _world(OPTIMIZED, NON_OPTIMIZED)
    handle = await host.device.open()
    assert await _reads(host, handle) == [4, 0]
    world.model.change_access(1, NON_OPTIMIZED)
    world.model.change_access(2, OPTIMIZED)
    await handle.read(0, 512)
    await _while_watched(host, 1)
    assert await _reads(host, handle) == [0, 4]


@pytest.mark.expects_log("underpath ghost .*cause=its target port is standby")
async def test_a_port_in_standby_is_a_ghost_until_it_serves(autojump_clock: MockClock) -> None:
    world, host = await _world(OPTIMIZED, STANDBY)
    assert host.device.underpaths[1].state is UnderpathState.GHOST
    handle = await host.device.open()
    assert host.device.underpaths[1].state is UnderpathState.GHOST
    assert await _reads(host, handle) == [4, 0]
    await _while_watched(host)
    assert host.device.underpaths[1].state is UnderpathState.GHOST
    world.model.change_access(2, OPTIMIZED)
    await handle.read(0, 512)  # is told
    await _while_watched(host, 1)
    assert await _reads(host, handle) == [2, 2]
    assert world.keys == [KEYS["a"]] * 2


@pytest.mark.expects_log("underpath ghost")
async def test_a_ghost_that_says_ready_is_not_registered_again_and_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some arrays answer TEST UNIT READY in standby."""
    monkeypatch.setattr(
        port_groups, "IN_STANDBY", port_groups.IN_STANDBY | {OpCode.TEST_UNIT_READY}
    )
    world, host = await _world(OPTIMIZED, STANDBY)
    await _while_watched(host, 100)
    assert host.device.underpaths[1].state is UnderpathState.GHOST
    assert not [line for line in world.sent(host) if "REGISTER" in line]


async def test_an_idle_host_learns_of_a_change_by_its_checks(autojump_clock: MockClock) -> None:
    world, host = await _world(OPTIMIZED, NON_OPTIMIZED)
    world.model.change_access(1, NON_OPTIMIZED)
    world.model.change_access(2, OPTIMIZED)
    await _while_watched(host)
    shown = [one.carries for one in host.device.snapshot().underpaths]
    accesses = [one.access for one in host.device.snapshot().underpaths]
    assert (accesses, shown) == (["active/non-optimized", "active/optimized"], ["yes", "yes"])
    assert await _reads(host, await host.device.open()) == [0, 4]


@pytest.mark.expects_log("underpath ghost .*cause=READ.*standby")
async def test_what_a_command_is_told_of_standby_counts_at_once(autojump_clock: MockClock) -> None:
    world, host = await _world(OPTIMIZED, OPTIMIZED)
    handle = await host.device.open()
    world.model.state.port_groups.put(1, STANDBY, is_preferred=False)  # and nobody was told
    assert await _reads(host, handle) == [0, 4]
    assert host.device.underpaths[0].state is UnderpathState.GHOST


async def test_while_all_ports_are_in_transition_requests_wait(autojump_clock: MockClock) -> None:
    world, host = await _world(OPTIMIZED, NON_OPTIMIZED)
    handle = await host.device.open()
    for port in (1, 2):
        world.model.change_access(port, TRANSITIONING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        nursery.start_soon(handle.write, 0, stamp("waits"))
        await trio.sleep(20)
        assert not world.model.medium.history
        world.model.change_access(2, OPTIMIZED)
        await trio.sleep(5)
        assert bytes(await handle.read(0, 4096)) == stamp("waits")
        nursery.cancel_scope.cancel()
    assert {one.nexus for one in world.model.medium.history} == {host.nexus(1)}


async def test_a_transition_that_does_not_end_ends_the_request(autojump_clock: MockClock) -> None:
    world, host = await _world(OPTIMIZED, OPTIMIZED)
    handle = await host.device.open()
    for port in (1, 2):
        world.model.state.port_groups.put(port, TRANSITIONING, is_preferred=False)
    with trio.fail_after(100):
        with pytest.raises(NoUsableUnderpath, match=r"transition.*look at the array"):
            await handle.read(0, 512)


@pytest.mark.expects_log("underpath ghost")
async def test_with_ghosts_alone_requests_wait_as_without_any(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", rules=UnderpathRules(no_path_timeout_s=60))
    handle = await host.device.open()
    for port in (1, 2):
        world.model.change_access(port, STANDBY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        nursery.start_soon(handle.write, 0, stamp("waits"))
        await trio.sleep(30)
        assert not world.model.medium.history
        world.model.change_access(2, OPTIMIZED)
        await trio.sleep(25)
        assert world.model.medium.history
        nursery.cancel_scope.cancel()


async def test_an_array_without_alua_is_not_asked(autojump_clock: MockClock) -> None:
    world = World(LogicalUnitModel(TGT))
    asked = world.model.interfere(INVALID_FIELD, count=1, opcode=OpCode.MAINTENANCE_IN)
    host = await world.host("a")
    assert asked.count == 1
    handle = await host.device.open()
    assert await _reads(host, handle) == [2, 2]
    assert [one.access for one in host.device.snapshot().underpaths] == [None, None]
