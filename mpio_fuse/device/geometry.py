"""What shapes the commands of a device: learned from an underpath that the array lets in."""

from collections.abc import Callable, Sequence

import attrs

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import NoUsableUnderpath
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
    lun: str,
    unit: LogicalUnit,
    underpaths: Sequence[Underpath],
    prober: Callable[[Underpath], Prober],
) -> Geometry:
    """Size and limits: what discovery found, and asked again where it could not be read then.

    Asked of registered underpaths alone: READ CAPACITY and MODE SENSE conflict on the others while a host holds the
    disk.

    Raises:
        NoUsableUnderpath: no underpath tells the capacity.
    """
    registered = [one for one in underpaths if one.registered]
    capacity = unit.capacity
    if capacity is None:
        capacity = await _read_capacity(lun, [prober(one) for one in registered])
    size = capacity.block_size_bytes
    limits = [one.transport.max_transfer_bytes // size for one in underpaths]
    limits.append(unit.max_transfer_blocks or DEFAULT_MAX_TRANSFER_BYTES // size)
    has_fua = bool(registered) and await prober(registered[0]).has_fua()
    return Geometry(size, capacity.blocks, max(1, min(limits)), has_fua=has_fua)


async def _read_capacity(lun: str, probers: Sequence[Prober]) -> Capacity:
    for prober in probers:
        capacity = await prober.read_capacity()
        if capacity is not None:
            return capacity
    raise NoUsableUnderpath("READ CAPACITY fails on every underpath", lun=lun)
