"""After the events: faults end, everything is closed, and every host uses the disk once more."""

import trio

from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.schedules.chronicle import Over, Settled
from tests.schedules.hosts import SimHost
from tests.schedules.invariants.ending import BOUND_S
from tests.schedules.stamps import CELLS
from tests.schedules.world import World

POLL_S = 2.0
SETTLING_S = 16.0
"""Long enough for the longest delay of a schedule, and for what the watch makes up for."""


async def epilogue(world: World) -> None:
    """Heal, settle, close, settle; then open and use it on one host or on each in turn; unmount all."""
    _heal(world)
    await _until_nothing_pends(world)
    for host in world.hosts.values():
        if host.life is not None:
            for slot in list(host.life.slots):
                await world.close(host.life, slot)
    await _settle(world)
    cut_off = tuple(host.name for host in world.hosts.values() if _is_cut_off(host))
    pending = tuple(sorted(world.pending))
    world.chronicle.add(Settled, held_by=world.unit.held_by, pending=pending, cut_off=cut_off)
    world.is_epilogue = True
    hosts = [host for host in world.hosts.values() if host.name not in cut_off]
    for host in hosts[:1] if world.is_short else hosts:
        await _use(world, host)
    for host in hosts:
        await host.unmount()
    nexuses = [
        port.nexus
        for host in world.hosts.values()
        for port in host.ports
        if port.unit is None and not port.is_vanished
    ]
    registered, forlorn = world.unit.registered_of(nexuses)
    world.chronicle.add(
        Over,
        held_by=world.unit.held_by,
        registered=registered,
        forlorn=forlorn,
        cut_off=cut_off,
    )


def _heal(world: World) -> None:
    world.chronicle.note("everything heals")
    world.is_healed = True
    world.unit.interferences.clear()
    world.third_leaves()
    for host in world.hosts.values():
        for port in host.ports:
            port.calm()
        host.begin_life()


async def _until_nothing_pends(world: World) -> None:
    with trio.move_on_after(BOUND_S):
        await trio.sleep(POLL_S)  # what the last events started has begun by then
        while world.pending:  # noqa: ASYNC110 (an event of the simulator's would change the course of events)
            await trio.sleep(POLL_S)


async def _settle(world: World) -> None:
    """Until what was on its way has landed, and what is owed was made up for."""
    await trio.sleep(world.longest_delay_s)
    with trio.move_on_after(SETTLING_S):
        while world.unit.held_by or not all(_is_settled(one) for one in world.hosts.values()):  # noqa: ASYNC110
            await trio.sleep(POLL_S)


def _is_settled(host: SimHost) -> bool:
    if host.life is None:
        return True
    if _is_cut_off(host):
        return True
    if not host.life.is_mounted:
        return False
    return all(one.is_idle for one in host.life.device.underpaths)


def _is_cut_off(host: SimHost) -> bool:
    """Whether no node of the disk is left to the host."""
    is_served = host.life is not None
    return not is_served or all(one.unit is not None or one.is_vanished for one in host.ports)


async def _use(world: World, host: SimHost) -> None:
    """Open, write everything, read it back, close."""
    life = host.life
    if life is None:
        return
    is_taken = world.unit.held_by not in {"", host.name}
    options = OpenOption.FORCED_OPEN if is_taken else OpenOption.DEFAULT
    everything = range(CELLS)
    if await world.open(life, 0, options):
        await world.write(life, 0, everything)
        await world.read(life, 0, everything)
        await world.close(life, 0)
