"""Underpaths that are added to and removed from a device while it is in use."""

import pytest

from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, TGT, Quirks
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.test_between import taken_by_b, writes_by
from tests.device.world import KEYS, Host, World, ownership_of, stamp

QUIRKS = pytest.mark.parametrize("quirks", [LIO, TGT], ids=lambda one: one.name)


def _another(world: World, host: Host, port: int = 3) -> SimulatedTransport:
    transport = SimulatedTransport(
        world.model, Nexus(f"iqn.host-{host.name}", port), name=f"{host.name}{port}"
    )
    host.transports.append(transport)
    host.links.append(transport.link)
    return transport


def _keys_of(world: World, host: Host) -> int:
    return world.keys.count(KEYS[host.name])


@QUIRKS
async def test_a_new_underpath_is_registered_then_carries_data(quirks: Quirks) -> None:
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a")
    handle = await host.device.open()
    added = await host.device.add_underpath(_another(world, host))
    assert _keys_of(world, host) == 3
    for number in range(6):
        await handle.write(4096 * number, stamp(str(number)))
    assert added.counters.writes
    await handle.aclose()
    await host.device.remove()
    assert world.keys == []


async def test_it_is_registered_also_while_nothing_is_open() -> None:
    world = World()
    host = await world.host("a")
    await host.device.add_underpath(_another(world, host))
    assert _keys_of(world, host) == 3


@pytest.mark.expects_log("underpath removed")
async def test_an_underpath_to_another_disk_is_refused_and_closed() -> None:
    world = World()
    host = await world.host("a")
    other = SimulatedTransport(LogicalUnitModel(serial="another"), Nexus("iqn.host-a", 9), name="x")
    with pytest.raises(MpioError, match="does not lead to"):
        await host.device.add_underpath(other)
    assert len(host.device.underpaths) == 2
    with pytest.raises(MpioError, match="gone"):
        await other.reset_logical_unit()


async def test_an_underpath_that_is_there_is_refused() -> None:
    world = World()
    host = await world.host("a")
    with pytest.raises(MpioError, match="is an underpath already"):
        await host.device.add_underpath(_another(world, host, port=1))
    assert [one.name for one in host.device.underpaths] == ["a1", "a2"]


@pytest.mark.expects_log("fenced")
async def test_a_new_underpath_does_not_let_a_fenced_host_back_in() -> None:
    """Registering again would let it."""
    world = World()
    host = await world.host("a")
    await host.device.open()
    taken_by_b(world)()
    with pytest.raises(MpioError):
        await host.device.add_underpath(_another(world, host))
    assert _keys_of(world, host) == 0
    assert world.holder == KEYS["b"]


@QUIRKS
@pytest.mark.parametrize("index", [0, 1])
async def test_a_removed_underpath_leaves_the_reservation(quirks: Quirks, index: int) -> None:
    """With the holder's registration would go the reservation, so it moves first."""
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a", underpaths=3)
    handle = await host.device.open()
    gone = host.device.underpaths[index].name
    await host.device.remove_underpath(gone)
    assert world.holder == KEYS["a"]
    assert _keys_of(world, host) == 2
    for number in range(4):
        await handle.write(4096 * number, stamp(str(number)))
    assert len(writes_by(world, host)) == 4
    assert gone not in [one.name for one in host.device.underpaths]
    await handle.aclose()
    assert world.holder is None


async def test_the_holder_of_a_retained_reservation_is_removed() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(OpenOption.RETAIN_RESERVATION)).aclose()
    await host.device.remove_underpath("a1")
    assert world.holder == KEYS["a"]
    assert host.device.snapshot().retention is not None
    await host.device.release_retained()
    assert world.holder is None


async def test_the_last_usable_underpath_of_an_open_device_stays() -> None:
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    with pytest.raises(MpioError, match="the last usable underpath"):
        await host.device.remove_underpath("a1")
    await handle.write(0, stamp("goes on"))


async def test_an_unknown_underpath_is_one_line() -> None:
    world = World()
    host = await world.host("a")
    with pytest.raises(MpioError, match="no such underpath") as error:
        await host.device.remove_underpath("a7")
    assert "it has a1, a2" in str(error.value)


async def test_a_removal_waits_for_commands_under_way() -> None:
    world = World()
    host = await world.host("a", control_timeout_s=0.1)
    await host.device.open()
    host.device.underpaths[1].in_flight = 1
    with pytest.raises(MpioError, match="still under way"):
        await host.device.remove_underpath("a2")
    host.device.underpaths[1].in_flight = 0
    await host.device.remove_underpath("a2")


@pytest.mark.expects_log("underpath removed")
async def test_a_node_that_vanished_and_came_back_serves_again() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    ownership = ownership_of(host)
    assert ownership.registrar.reserved is host.device.underpaths[0]
    host.transports[0].vanish()
    for number in range(2):
        await handle.write(4096 * number, stamp(str(number)))
    assert host.device.underpaths[0].state is UnderpathState.REMOVED
    back = await host.device.add_underpath(_another(world, host, port=1))
    for number in range(4):
        await handle.write(4096 * number, stamp(str(number)))
    assert back.counters.writes
    assert [one.name for one in host.device.underpaths] == ["a2", "a1"]
    await handle.aclose()
    assert world.holder is None
