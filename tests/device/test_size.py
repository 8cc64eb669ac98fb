"""The disk's size: a resize is followed, and a disk of another size behind a node is another disk (invariant 7)."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO
from mpio_fuse.target.registrations import attention_port
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.test_between import swap_disk
from tests.device.world import Host, World, stamp

pytestmark = pytest.mark.virtual_clock


async def _watched(host: Host, seconds: float = 30) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


def _swap_in(transport: SimulatedTransport, other: LogicalUnitModel) -> None:
    """Another logical unit appears behind the node, in a new session, and says that something has changed."""
    transport.log_in_again()
    swap_disk(transport, other)
    other.state.attentions.establish(attention_port(transport.nexus, other.quirks), (0x3F, 0x0E))


@pytest.mark.expects_log("resized")
@pytest.mark.parametrize("is_open", [True, False])
async def test_the_size_follows_a_resize(autojump_clock: MockClock, *, is_open: bool) -> None:
    world = World()
    host = await world.host("a")
    before = host.device.size_bytes
    handle = await host.device.open() if is_open else None
    world.model.medium.blocks *= 2  # LIO tells nobody
    await _watched(host)
    assert host.device.size_bytes == 2 * before
    handle = handle or await host.device.open()
    await handle.write(before, stamp("beyond the old end"))
    assert bytes(await handle.read(before, 4096)) == stamp("beyond the old end")


@pytest.mark.expects_log("resized|underpath down")
async def test_an_open_finds_a_resize_by_itself(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    before = host.device.size_bytes
    world.model.medium.blocks *= 2
    handle = await host.device.open()
    assert host.device.size_bytes == 2 * before
    await handle.write(before, stamp("beyond the old end"))


@pytest.mark.expects_log("underpath down|underpath removed")
@pytest.mark.parametrize("what", ["size", "block size"])
async def test_a_clone_of_another_size_carries_no_data(
    what: str, autojump_clock: MockClock
) -> None:
    """The same identity, as cloned images have it."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    clone = LogicalUnitModel()
    if what == "size":
        clone.medium.blocks *= 2
    else:
        clone.medium.block_size_bytes = 4096
    _swap_in(host.transports[0], clone)
    for number in range(4):
        await handle.write(number * 4096, stamp("right disk"))
    await _watched(host)
    await handle.write(0, stamp("right disk"))
    assert not clone.medium.history
    assert host.device.underpaths[0].state in {UnderpathState.DOWN, UnderpathState.REMOVED}
    assert not clone.persistent.registered


@pytest.mark.expects_log("underpath removed")
async def test_the_state_is_not_read_from_another_disk(autojump_clock: MockClock) -> None:
    """Its answer, that nobody has it reserved, would fence; of a disk that we hold as well it would hide a fence."""
    world, other = World(LogicalUnitModel(LIO)), LogicalUnitModel(LIO, serial="another")
    host = await world.host("a")
    handle = await host.device.open()
    _swap_in(host.transports[0], other)
    await host.device.look()
    await handle.write(0, stamp("still ours"))
    await handle.aclose()
    assert world.holder is None
    assert not other.persistent.registered


async def test_a_cancelled_open_gives_the_reservation_back(autojump_clock: MockClock) -> None:
    """Wherever it is cancelled: nobody has it open, so nobody would ever close it."""
    for step in range(1, 60):
        world = World()
        host = await world.host("a")
        for link in host.links:
            link.answer_s = 0.1
        with trio.move_on_after(0.1 * step - 0.05) as scope:
            await host.device.open()
        for link in host.links:
            link.answer_s = 0
        if not scope.cancelled_caught:
            break
        await _watched(host, 60)
        assert world.holder is None, step
    else:
        pytest.fail("the open never came to its end")


async def test_a_closed_handle_writes_nothing() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await handle.aclose()
    with pytest.raises(MpioError, match="the file is closed"):
        await handle.write(0, stamp("no"))
    assert not world.model.medium.history


async def test_a_device_that_was_removed_is_not_opened() -> None:
    world = World()
    host = await world.host("a")
    await host.device.remove()
    with pytest.raises(MpioError, match="not served any more"):
        await host.device.open()
