"""What the registrar believes when an answer was lost."""

import pytest

from mpio_fuse.scsi.opcodes import OpCode, PrOut
from tests.device.world import KEYS, World, ownership_of


@pytest.mark.hazard(15)
@pytest.mark.expects_log("underpath down")
async def test_a_lost_preempt_of_our_own_key_is_not_believed() -> None:
    """The reservation is ours before and after, so only an answer can tell that old commands are dead."""
    world = World()
    host = await world.host("a")
    await host.device.open()
    first, _ = host.device.underpaths
    registrar = ownership_of(host).registrar
    host.links[0].go_down()
    assert not await registrar.move_to(first)
    assert not first.registered
    assert registrar.reserved is first
    assert world.holder == KEYS["a"]


@pytest.mark.expects_log("underpath down")
async def test_an_underpath_that_loses_a_release_is_not_asked_to_take_over() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].lose_commands(
        None,
        lambda command: (
            command.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and command.cdb[1] == PrOut.RELEASE
        ),
        after_s=0,
    )
    world.model.log.clear()
    await handle.aclose()
    assert world.holder is None
    takers = [one for one in world.sent(host) if "PREEMPT" in one]
    assert takers == ["a2 PREEMPT_AND_ABORT"]
