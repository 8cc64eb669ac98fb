"""Underpaths fail under I/O: the others carry on, and what was lost cannot come back."""

import errno

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError, NoUsableUnderpath
from mpio_fuse.scsi.command import Command, HostStatus
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.target.medium import Kind
from tests.device.world import KEYS, World, stamp

pytestmark = pytest.mark.expects_log("underpath down")


def is_write(command: Command) -> bool:
    return command.cdb[0] in (OpCode.WRITE_10, OpCode.WRITE_16)


async def test_a_read_goes_on_over_the_other_underpath() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("here"))
    host.links[0].go_down()
    for _ in range(4):
        assert bytes(await handle.read(0, 4096)) == stamp("here")
    down, up = host.device.underpaths
    assert (down.state, up.state) == (UnderpathState.DOWN, UnderpathState.UP)
    assert "NO_CONNECT" in down.last_failure


@pytest.mark.hazard(1, 3)
async def test_a_write_goes_on_over_the_other_underpath_behind_the_barrier() -> None:
    """The dead underpath had made the reservation: it moves, and the dead nexus is out."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].go_down()
    for number in range(4):
        await handle.write(number * 4096, stamp(str(number)))
    assert world.keys == [KEYS["a"]]
    assert world.holder == KEYS["a"]
    assert world.model.persistent.of(host.nexus(0)) is None
    await handle.aclose()
    assert world.holder is None


@pytest.mark.hazard(1)
async def test_a_lost_write_never_lands_over_its_repetition_or_what_followed(
    autojump_clock: MockClock,
) -> None:
    """The write hangs on one underpath, is repeated on the other, and then arrives after all."""
    world = World()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    slow, _ = host.links
    slow.arrival_s = 60.0  # on its way for a minute, and our own bound is 5 s
    slow.times_out = False
    await handle.write(0, stamp("old"))  # whichever underpath it took first
    await handle.write(0, stamp("old"))
    slow.arrival_s = 0.0
    await handle.write(0, stamp("new"))
    await trio.sleep(120)
    assert bytes(await handle.read(0, 4096)) == stamp("new")
    writers = [one.nexus for one in world.model.medium.history if one.kind is Kind.WRITE]
    assert host.nexus(0) not in writers


async def test_many_writes_lost_at_once_put_up_one_barrier(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].arrival_s = host.links[1].arrival_s = 0.1
    world.model.log.clear()
    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(handle.write, number * 4096, stamp(str(number)))
        await trio.sleep(0.05)
        host.links[0].go_down()
    for number in range(16):
        assert bytes(await handle.read(number * 4096, 4096)) == stamp(str(number))
    assert [line for line in world.sent(host) if "PREEMPT" in line] == ["a2 PREEMPT_AND_ABORT"]


@pytest.mark.hazard(22)
async def test_a_write_lost_on_the_last_underpath_is_an_error() -> None:
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    host.links[0].go_down()
    with pytest.raises(NoUsableUnderpath) as error:
        await handle.write(0, stamp("nowhere"))
    assert error.value.errno == errno.EIO
    with pytest.raises(MpioError):
        await handle.read(0, 512)


async def test_an_underpath_that_answers_again_is_registered_and_carries_data_again(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        host.links[0].go_down()
        await handle.write(0, stamp("one"))
        await handle.write(0, stamp("two"))
        assert world.keys == [KEYS["a"]]
        host.links[0].come_up()
        await trio.sleep(30)
        assert world.keys == [KEYS["a"]] * 2
        before = host.device.underpaths[0].counters.writes
        await handle.write(0, stamp("three"))
        await handle.write(0, stamp("four"))
        assert host.device.underpaths[0].counters.writes == before + 1
        nursery.cancel_scope.cancel()


async def test_an_underpath_with_a_command_still_out_is_not_registered_again(
    autojump_clock: MockClock,
) -> None:
    """Registering it would let the old command in."""
    world = World()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    host.links[0].arrival_s = 600.0
    host.links[0].times_out = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await handle.write(0, stamp("old"))
        await handle.write(0, stamp("new"))
        host.links[0].arrival_s = 0.0
        await trio.sleep(100)
        assert world.keys == [KEYS["a"]]
        await trio.sleep(1000)
        assert world.keys == [KEYS["a"]] * 2
        assert bytes(await handle.read(0, 4096)) == stamp("new")
        nursery.cancel_scope.cancel()


async def test_an_answer_lost_after_the_write_took_effect_is_repeated_safely() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links[:1]:
        link.lose_answers(1, is_write, host_status=HostStatus.TRANSPORT_DISRUPTED, after_s=0.01)
    await handle.write(0, stamp("twice"))
    await handle.write(0, stamp("twice"))
    assert bytes(await handle.read(0, 4096)) == stamp("twice")
