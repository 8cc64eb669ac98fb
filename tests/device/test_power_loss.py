"""The array is switched off and on, and has forgotten who had it; it need not say so."""

import pytest
from trio.testing import MockClock

from mpio_fuse.device.registrar import TYPE
from mpio_fuse.errors import Fenced
from mpio_fuse.scsi import pr_out
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, TGT, Quirks
from tests.device.world import KEYS, World, stamp


@pytest.mark.expects_log("fenced")
@pytest.mark.parametrize("quirks", [LIO, TGT], ids=lambda one: one.name)
@pytest.mark.parametrize("was_preempted", [True, False])
async def test_a_host_does_not_restore_itself(quirks: Quirks, *, was_preempted: bool) -> None:
    """It may have been preempted a moment before, and the notice of that is gone with the power."""
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a")
    handle = await host.device.open()
    if was_preempted:
        nexus = Nexus("iqn.host-b", 1)
        for command in (
            pr_out.register_and_ignore_existing_key(KEYS["b"]),
            pr_out.preempt(KEYS["b"], KEYS["a"], TYPE),
        ):
            while not world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good:
                pass  # unit attentions
    world.model.power_loss(announced=False)
    with pytest.raises(Fenced):
        await host.device.look()
    with pytest.raises(Fenced):
        await handle.write(0, stamp("unprotected"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]
    assert KEYS["a"] not in world.keys


@pytest.mark.virtual_clock
async def test_with_aptpl_nothing_is_forgotten(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", aptpl=True)
    handle = await host.device.open()
    world.model.power_loss()
    assert world.holder == KEYS["a"]
    await handle.write(0, stamp("goes on"))
