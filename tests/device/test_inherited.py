"""A daemon dies, and what it had sent hangs in a kernel that outlives it: the next one speaks over the same nexus."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.watch import watch
from mpio_fuse.errors import NoUsableUnderpath
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.world import Host, World, stamp

HANGS_S = 20.0


def world_with_one_kernel() -> World:
    """Each transport follows those that used its nexus before, as one on sg does."""
    made: list[SimulatedTransport] = []

    class OneKernel(SimulatedTransport):
        def __init__(self, model: LogicalUnitModel, nexus: Nexus, name: str) -> None:
            super().__init__(model, nexus, name)
            for former in made:
                if former.name == name:
                    self.inherit(former)
            made.append(self)

    return World(kind=OneKernel)


async def dies_with_a_write_under_way(host: Host, answer_s: float = 0.0) -> None:
    handle = await host.device.open()
    host.links[0].arrival_s, host.links[0].answer_s = HANGS_S, answer_s
    host.links[0].times_out = False
    with trio.move_on_after(1):
        await handle.write(0, stamp("old"))
    for transport in host.transports:
        transport.vanish()


@pytest.mark.hazard(1)
async def test_an_old_write_is_not_let_in_by_the_next_daemons_registration(
    autojump_clock: MockClock,
) -> None:
    world = world_with_one_kernel()
    await dies_with_a_write_under_way(await world.host("a"))
    host = await world.host("a")
    assert [one.registered for one in host.device.underpaths] == [False, True]
    assert "old command" in host.device.underpaths[0].last_failure
    handle = await host.device.open()
    await handle.write(0, stamp("new"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert bytes(await handle.read(0, 4096)) == stamp("new")
    assert [one.is_usable for one in host.device.underpaths] == [True, True]


async def test_with_no_other_underpath_it_is_not_served_until_the_old_write_is_over(
    autojump_clock: MockClock,
) -> None:
    world = world_with_one_kernel()
    await dies_with_a_write_under_way(await world.host("a", underpaths=1))
    with pytest.raises(NoUsableUnderpath, match="an old command is still under way here"):
        await world.host("a", underpaths=1)
    await trio.sleep(HANGS_S)
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    await handle.write(0, stamp("new"))
    await trio.sleep(60)
    assert bytes(await handle.read(0, 4096)) == stamp("new")


async def test_what_a_session_took_along_when_it_ended_counts_no_more(
    autojump_clock: MockClock,
) -> None:
    world = world_with_one_kernel()
    host = await world.host("a", underpaths=1)
    await dies_with_a_write_under_way(host)
    (former,) = host.transports
    following = type(former)(world.model, former.nexus, former.name)
    assert following.stranded == 1
    former.nexus = following.log_in_again()
    assert following.stranded == 0


async def test_what_has_arrived_counts_no_more_whenever_its_answer_comes(
    autojump_clock: MockClock,
) -> None:
    world = world_with_one_kernel()
    host = await world.host("a", underpaths=1)
    await dies_with_a_write_under_way(host, answer_s=3 * HANGS_S)
    (former,) = host.transports
    following = type(former)(world.model, former.nexus, former.name)
    await trio.sleep(HANGS_S)
    assert (former.stranded, following.stranded) == (1, 0)
