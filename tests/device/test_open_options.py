"""What the other open options do to reservation and registrations, and how several opens of one host get along."""

import errno

import pytest

from mpio_fuse.errors import OpenRefused, UsageError
from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.device.world import KEYS, World, stamp

NO_RESERVE = OpenOption.NO_RESERVE
RETAIN = OpenOption.RETAIN_RESERVATION
SINGLE = OpenOption.SINGLE
FORCED = OpenOption.FORCED_OPEN


@pytest.mark.hazard(7)
async def test_retain_keeps_the_reservation_beyond_the_close_and_the_unmount() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await (await a.device.open(RETAIN)).aclose()
    assert world.holder == KEYS["a"]
    with pytest.raises(OpenRefused):
        await b.device.open()
    await a.device.remove()
    assert world.holder == KEYS["a"]


async def test_retain_by_any_open_holds_for_all_until_a_first_open_comes_without_it() -> None:
    world = World()
    host = await world.host("a")
    plain, retaining = await host.device.open(), await host.device.open(RETAIN)
    await retaining.aclose()
    await plain.aclose()
    assert world.holder == KEYS["a"]
    await (await host.device.open()).aclose()
    assert world.holder is None


async def test_retain_meets_another_hosts_reservation_with_ebusy() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    with pytest.raises(OpenRefused) as refusal:
        await b.device.open(RETAIN)
    assert refusal.value.errno == errno.EBUSY


async def test_no_reserve_reserves_nothing_and_gives_up_what_was_retained() -> None:
    world = World()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    handle = await host.device.open(NO_RESERVE)
    assert world.holder is None
    assert not handle.owns_reservation
    await handle.write(0, stamp("shared"))
    await handle.aclose()


async def test_no_reserve_leaves_the_reservation_to_a_handle_that_relies_on_it() -> None:
    world = World()
    host = await world.host("a")
    owner = await host.device.open()
    prober = await host.device.open(NO_RESERVE)
    assert world.holder == KEYS["a"]
    await prober.aclose()
    assert world.holder == KEYS["a"]
    await owner.aclose()
    assert world.holder is None


async def test_no_reserve_is_refused_while_another_host_holds() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    with pytest.raises(OpenRefused) as refusal:
        await b.device.open(NO_RESERVE)
    assert refusal.value.errno == errno.EBUSY


async def test_a_default_open_beside_no_reserve_takes_the_reservation() -> None:
    world = World()
    host = await world.host("a")
    shared = await host.device.open(NO_RESERVE)
    owner = await host.device.open()
    assert world.holder == KEYS["a"]
    await owner.aclose()
    await shared.aclose()
    assert world.holder is None


async def test_single_excludes_the_other_opens_of_this_host() -> None:
    world = World()
    host = await world.host("a")
    single = await host.device.open(SINGLE)
    with pytest.raises(OpenRefused) as refusal:
        await host.device.open(NO_RESERVE)
    assert refusal.value.errno == errno.EACCES
    await single.aclose()
    await host.device.open()
    with pytest.raises(OpenRefused) as refusal:
        await host.device.open(SINGLE)
    assert refusal.value.errno == errno.EBUSY


async def test_forced_reserves_a_disk_that_nobody_holds() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open(FORCED)
    assert world.holder == KEYS["a"]
    await handle.aclose()
    assert world.holder is None


async def test_forced_takes_over_from_a_host_whose_underpaths_are_all_dead() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    for link in a.links:
        link.go_down()
    handle = await b.device.open(FORCED | RETAIN)
    assert world.keys == [KEYS["b"]] * 2
    await handle.aclose()
    assert world.holder == KEYS["b"]


async def test_contradicting_options_are_a_usage_error_and_touch_nothing() -> None:
    world = World()
    host = await world.host("a")
    with pytest.raises(UsageError):
        await host.device.open(NO_RESERVE | FORCED)
    assert world.sent(host) == []


async def test_the_snapshot_tells_who_holds_and_how_often_it_is_open() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    await a.device.open(RETAIN)
    with pytest.raises(OpenRefused):
        await b.device.open()
    ours, theirs = a.device.snapshot(), b.device.snapshot()
    assert ours.reservation.owner == "ours"
    assert ours.reservation.type == "Exclusive Access, registrants only"
    assert ours.opens == ("DEFAULT", "RETAIN_RESERVATION")
    assert ours.retention is not None
    assert [one.is_holder for one in ours.underpaths] == [True, False]
    assert (theirs.reservation.owner, theirs.reservation.holder) == ("theirs", KEYS["a"])
    assert theirs.opens == ()
