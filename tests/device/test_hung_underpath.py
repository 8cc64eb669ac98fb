"""An underpath that hangs costs those who use the others next to nothing."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.side_by_side import GRACE_S
from tests.device.world import World, stamp

pytestmark = pytest.mark.virtual_clock


@pytest.mark.expects_log("underpath down|underpath hangs")
async def test_a_second_open_does_not_wait_for_an_underpath_out_of_service(
    autojump_clock: MockClock,
) -> None:
    """Its REGISTER would hold up everybody's I/O until the timeout."""
    world = World()
    host = await world.host("a", io_timeout_s=1)
    handle = await host.device.open()
    hung = host.links[1]
    hung.times_out = False
    hung.lose_commands(None)
    for number in range(2):
        await handle.read(4096 * number, 4096)
    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.device.open)
        await handle.read(0, 4096)
    assert trio.current_time() - begun_s < 0.5


@pytest.mark.expects_log("underpath down")
async def test_a_second_open_waits_a_moment_for_an_underpath_that_has_just_hung(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[1].times_out = False
    host.links[1].lose_commands(None)
    begun_s = trio.current_time()
    second = await host.device.open()
    await second.write(0, stamp("goes on"))
    assert trio.current_time() - begun_s < 3 * GRACE_S
    await handle.read(0, 4096)


@pytest.mark.expects_log("underpath down")
async def test_a_first_open_and_the_mount_wait_a_moment(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", underpaths=3)
    host.links[2].times_out = False
    host.links[2].lose_commands(None)
    begun_s = trio.current_time()
    handle = await host.device.open()
    assert trio.current_time() - begun_s < 3 * GRACE_S
    await handle.write(0, stamp("goes on"))
