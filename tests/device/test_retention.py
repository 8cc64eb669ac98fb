"""A reservation that outlives the last close: who is told, what a restart makes of it, how it is given up."""

import errno

import pytest

from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.retention import Retention
from mpio_fuse.errors import MpioError, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.device.world import KEYS, Host, World, ownership_of

RETAIN = OpenOption.RETAIN_RESERVATION
NOON_S = 1_700_000_000.0


async def _restarted(host: Host, **settings: object) -> PseudoDevice:
    """The same nexuses under a daemon that remembers nothing."""
    old = host.device
    new_settings = type(old.settings)(key=old.settings.key, **settings)  # type: ignore[arg-type]
    device = PseudoDevice(old.logical_unit, host.transports, new_settings, clock=lambda: NOON_S)
    await device.configure()
    return device


async def test_it_is_told_since_when_it_is_retained() -> None:
    world = World()
    host = await world.host("a")
    times_s = iter((1.0, 2.0))
    ownership_of(host)._clock = lambda: next(times_s)  # noqa: SLF001 - the world's clock
    first = await host.device.open(RETAIN)
    second = await host.device.open(RETAIN)
    await first.aclose()
    await second.aclose()
    assert host.device.snapshot().retention == Retention(1.0)
    await (await host.device.open()).aclose()
    assert host.device.snapshot().retention is None


async def test_what_is_found_ours_at_the_start_is_kept_until_an_open_decides() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    device = await _restarted(host)
    found = device.snapshot().retention
    assert found is not None
    assert found.is_from_before
    await device.remove()
    assert world.holder == KEYS["a"]


async def test_what_is_found_ours_survives_where_standbys_unregister() -> None:
    world = World()
    host = await world.host("a", standby="unregistered")
    await (await host.device.open(RETAIN)).aclose()
    device = await _restarted(host, standby="unregistered")
    assert world.holder == KEYS["a"]
    await (await device.open()).aclose()
    assert world.holder is None
    assert world.keys == []


async def test_a_device_that_another_host_holds_is_not_told_retained() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await (await a.device.open(RETAIN)).aclose()
    await b.device.open(OpenOption.FORCED_OPEN)
    await a.device.look()
    assert a.device.snapshot().retention is None
    await a.device.remove()
    assert KEYS["a"] not in world.keys


async def test_release_gives_up_what_was_retained() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    world.model.log.clear()
    await host.device.release_retained()
    assert world.holder is None
    assert world.keys == [KEYS["a"]] * 2
    assert [one for one in world.sent(host) if "READ" not in one] == ["a1 RELEASE"]
    assert host.device.snapshot().retention is None


@pytest.mark.expects_log("underpath down")
async def test_release_after_a_restart_finds_the_nexus_that_holds() -> None:
    world = World()
    host = await world.host("a")
    host.links[0].go_down()
    await (await host.device.open(RETAIN)).aclose()
    host.links[0].come_up()
    device = await _restarted(host)
    await device.release_retained()
    assert world.holder is None


@pytest.mark.expects_log("underpath down")
async def test_release_of_what_a_dead_underpath_holds() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    host.links[0].go_down()
    await host.device.release_retained()
    assert world.holder is None


async def test_release_unregisters_a_standby_that_is_to_be_unregistered() -> None:
    world = World()
    host = await world.host("a", standby="unregistered")
    await (await host.device.open(RETAIN)).aclose()
    await host.device.release_retained()
    assert (world.holder, world.keys) == (None, [])


async def test_release_over_the_only_underpath_after_a_restart() -> None:
    world = World()
    host = await world.host("a", underpaths=1)
    await (await host.device.open(RETAIN)).aclose()
    device = await _restarted(host)
    await device.release_retained()
    assert world.holder is None


async def test_release_waits_for_writes_that_are_still_out() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    host.device.underpaths[1].in_flight = 1
    with pytest.raises(OpenRefused, match="old writes are still out"):
        await host.device.release_retained()
    assert world.holder == KEYS["a"]
    host.device.underpaths[1].in_flight = 0
    await host.device.release_retained()
    assert world.holder is None


async def test_release_is_refused_while_a_handle_is_open() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open(RETAIN)
    with pytest.raises(OpenRefused, match="open on this host") as refusal:
        await host.device.release_retained()
    assert refusal.value.errno == errno.EBUSY
    assert world.holder == KEYS["a"]
    await handle.aclose()


@pytest.mark.hazard(5)
async def test_release_takes_nothing_from_another_host() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await b.device.open()
    world.model.log.clear()
    with pytest.raises(MpioError, match=f"reserved by key {KEYS['b']}"):
        await a.device.release_retained()
    assert [one for one in world.sent(a) if "READ" not in one] == []
    assert world.holder == KEYS["b"]


async def test_release_of_what_nobody_holds_says_so() -> None:
    world = World()
    host = await world.host("a")
    with pytest.raises(MpioError, match="nobody holds it"):
        await host.device.release_retained()
