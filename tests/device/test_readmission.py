"""Underpaths that come back while I/O goes on over others: what they do holds nobody up, and lets nobody in."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.handle import Handle
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from tests.device.test_between import just_before, pr_out_action, taken_by_b
from tests.device.world import KEYS, World, stamp

pytestmark = [pytest.mark.virtual_clock, pytest.mark.expects_log("underpath down")]

REGISTERS = pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY)


async def _write_for_ever(handle: Handle) -> None:
    while True:
        await handle.write(0, stamp("old"))
        await trio.sleep(0.1)


@pytest.mark.hazard(25)
@pytest.mark.parametrize("underpaths", [2, 3])
@pytest.mark.parametrize("option", [OpenOption.DEFAULT, OpenOption.NO_RESERVE])
async def test_an_underpath_that_hangs_on_register_alone_stalls_nobody(
    option: OpenOption, underpaths: int, autojump_clock: MockClock
) -> None:
    world = World()
    host = await world.host("a", underpaths)
    handle = await host.device.open(option)
    host.links[0].go_down()
    await handle.read(0, 512)
    await handle.read(0, 512)
    host.links[0].come_up()
    host.links[0].times_out = False
    hung = host.links[0].lose_commands(1, REGISTERS)
    longest_s = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        for number in range(600):
            started_s = trio.current_time()
            await handle.write(4096 * (number % 8), stamp(str(number)))
            longest_s = max(longest_s, trio.current_time() - started_s)
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert hung.count == 0
    assert longest_s == 0


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
@pytest.mark.parametrize("option", [OpenOption.DEFAULT, OpenOption.NO_RESERVE])
async def test_preempted_while_an_underpath_comes_back_it_is_not_let_in(
    option: OpenOption, autojump_clock: MockClock
) -> None:
    """The registration takes its time; another host takes the disk meanwhile, and writes go on until they are told."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open(option)
    host.links[0].go_down()
    await handle.read(0, 512)
    await handle.read(0, 512)
    host.links[0].come_up()
    just_before(host, REGISTERS, taken_by_b(world))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        with pytest.raises(Fenced):
            await _write_for_ever(handle)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    preempted_at = next(
        one.step
        for one in world.model.log
        if one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and one.cdb[1] == PrOut.PREEMPT_AND_ABORT
    )
    assert not [one for one in world.model.medium.history if one.step > preempted_at]
    assert KEYS["a"] not in world.keys


async def test_nothing_is_sent_there_before_the_look_that_comes_after(
    autojump_clock: MockClock,
) -> None:
    """Between the registration and that look nobody knows whether the disk is still ours."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].go_down()
    await handle.read(0, 512)
    await handle.read(0, 512)
    host.links[0].come_up()
    world.model.log.clear()
    for link in host.links:
        link.answer_s = 0.01
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        while "a1 WRITE" not in world.sent(host):
            await handle.write(0, stamp("goes on"))
        nursery.cancel_scope.cancel()
    sent = world.sent(host)
    registered = sent.index("a1 REGISTER_AND_IGNORE_EXISTING_KEY")
    looked = sent.index("a2 READ_RESERVATION", registered)
    assert sent.index("a1 WRITE") > looked
    assert "a2 WRITE" in sent[registered:looked]
