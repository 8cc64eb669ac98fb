"""The starting states: what two hosts that have found one disk have done with it before the open."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.reserve.fig07_decision import OpenOption


class Player(Protocol):
    """One host."""

    @property
    def device(self) -> PseudoDevice: ...

    async def cut(self, index: int) -> None:
        """Have one underpath, by its place in the device, carry nothing any more."""
        ...


async def free(a: Player, b: Player) -> None:
    """Nobody has it."""


async def ours(a: Player, b: Player) -> None:
    """A handle of host a is open."""
    await a.device.open()


async def ours_retained(a: Player, b: Player) -> None:
    """Host a had it open, closed it and kept the reservation."""
    await (await a.device.open(OpenOption.RETAIN_RESERVATION)).aclose()


async def ours_by_a_dead_underpath(a: Player, b: Player) -> None:
    """As before, and the underpath whose nexus holds the reservation is dead."""
    await ours_retained(a, b)
    await a.cut(0)


async def theirs(a: Player, b: Player) -> None:
    """The other host has it open."""
    await b.device.open()


async def theirs_and_dead(a: Player, b: Player) -> None:
    """The other host has it open, and all of its underpaths are dead."""
    await theirs(a, b)
    for underpath in b.device.underpaths:
        await b.cut(underpath.index)


State = Callable[[Player, Player], Awaitable[None]]

STATES: dict[str, State] = {
    state.__name__.replace("_", " "): state
    for state in (free, ours, ours_retained, ours_by_a_dead_underpath, theirs, theirs_and_dead)
}
