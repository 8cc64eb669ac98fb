"""What users do in a schedule, and what happens to the daemon that serves them."""

from typing import TYPE_CHECKING

import attrs
import trio

from mpio_fuse.reserve.fig07_decision import OpenOption

if TYPE_CHECKING:
    from tests.schedules.hosts import Life
    from tests.schedules.world import World


def _life(world: "World", host: str) -> "Life | None":
    return world.hosts[host].life


@attrs.frozen
class Open:
    """A user opens into a slot."""

    host: str
    slot: int
    options: OpenOption = OpenOption.DEFAULT
    cancel_after_s: float | None = None

    def happen(self, world: "World") -> None:
        if life := _life(world, self.host):
            life.start(world.open, life, self.slot, self.options, self.cancel_after_s)


@attrs.frozen
class Close:
    """A user closes what is in the slot."""

    host: str
    slot: int
    cancel_after_s: float | None = None

    def happen(self, world: "World") -> None:
        if life := _life(world, self.host):
            life.start(world.close, life, self.slot, self.cancel_after_s)


@attrs.frozen
class Write:
    """A user writes its stamp; ``count`` times at once, to these cells each."""

    host: str
    slot: int
    first_cell: int
    cells: int
    is_durable: bool = False
    cancel_after_s: float | None = None
    count: int = 1

    def happen(self, world: "World") -> None:
        cells = range(self.first_cell, self.first_cell + self.cells)
        if life := _life(world, self.host):
            for _ in range(self.count):
                life.start(self._write, world, life, cells)

    async def _write(self, world: "World", life: "Life", cells: range) -> None:
        await world.write(life, self.slot, cells, self.cancel_after_s, is_durable=self.is_durable)


@attrs.frozen
class Read:
    """A user reads."""

    host: str
    slot: int
    first_cell: int
    cells: int
    cancel_after_s: float | None = None

    def happen(self, world: "World") -> None:
        cells = range(self.first_cell, self.first_cell + self.cells)
        if life := _life(world, self.host):
            life.start(world.read, life, self.slot, cells, self.cancel_after_s)


@attrs.frozen
class Flush:
    """A user flushes."""

    host: str
    slot: int
    cancel_after_s: float | None = None

    def happen(self, world: "World") -> None:
        if life := _life(world, self.host):
            life.start(world.flush, life, self.slot, self.cancel_after_s)


@attrs.frozen
class Crash:
    """The daemon is killed, or its whole host loses power; it comes back."""

    host: str
    back_after_s: float
    is_whole_host: bool = False

    def happen(self, world: "World") -> None:
        host = world.hosts[self.host]
        if host.life is not None:
            host.crash(is_whole_host=self.is_whole_host)
            world.nursery.start_soon(_come_back, world, self.host, self.back_after_s)


@attrs.frozen
class Unmount:
    """The daemon is told to stop, and started again later."""

    host: str
    back_after_s: float

    def happen(self, world: "World") -> None:
        life = _life(world, self.host)
        if life is not None and life.is_mounted:
            world.nursery.start_soon(self._unmount, world)

    async def _unmount(self, world: "World") -> None:
        await world.hosts[self.host].unmount()
        await _come_back(world, self.host, self.back_after_s)


async def _come_back(world: "World", host: str, after_s: float) -> None:
    await trio.sleep(after_s)
    if not world.is_epilogue:
        world.hosts[host].begin_life()
