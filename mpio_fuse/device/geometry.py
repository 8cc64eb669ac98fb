"""What shapes the commands of a device: learned from an underpath that the array lets in."""

from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.scsi.capacity import Capacity

DEFAULT_MAX_TRANSFER_BYTES = 1 << 20


@attrs.frozen
class Geometry:
    """What shapes a command: the medium, and the largest transfer that device and transports take.

    ``has_fua``: the logical unit takes the FUA bit; without it a durable write is followed by a flush.
    """

    block_size_bytes: int
    blocks: int
    max_transfer_blocks: int
    has_fua: bool = False

    @property
    def size_bytes(self) -> int:
        return self.block_size_bytes * self.blocks


async def learn_geometry(
    unit: LogicalUnit,
    capacity: Capacity,
    underpaths: Sequence[Underpath],
    prober: Callable[[Underpath], Prober],
) -> Geometry:
    """The limits beside a capacity; FUA is asked of a registered underpath: MODE SENSE may conflict on others."""
    size = capacity.block_size_bytes
    limits = [one.transport.max_transfer_bytes // size for one in underpaths]
    limits.append(unit.max_transfer_blocks or DEFAULT_MAX_TRANSFER_BYTES // size)
    registered = [one for one in underpaths if one.registered]
    has_fua = bool(registered) and await prober(registered[0]).has_fua()
    return Geometry(size, capacity.blocks, max(1, min(limits)), has_fua=has_fua)


async def told_capacities(
    underpaths: Iterable[Underpath], prober: Callable[[Underpath], Prober]
) -> dict[Underpath, Capacity]:
    """What each of the underpaths tells that tells anything: silence and conflict are no opinion."""
    told: dict[Underpath, Capacity] = {}

    async def ask(underpath: Underpath) -> None:
        capacity = await prober(underpath).capacity_if_told()
        if capacity is not None:
            told[underpath] = capacity

    async with trio.open_nursery() as nursery:
        for underpath in underpaths:
            nursery.start_soon(ask, underpath)
    return told


def agreed(told: Iterable[Capacity]) -> Capacity | None:
    """The one size of all; None when there is none, or two differ."""
    sizes = {(one.blocks, one.block_size_bytes): one for one in told}
    return next(iter(sizes.values())) if len(sizes) == 1 else None
