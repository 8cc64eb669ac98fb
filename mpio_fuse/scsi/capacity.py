"""READ CAPACITY(10) and (16) (SBC-3 5.15, 5.16): how large a logical unit is."""

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode, ServiceActionIn16
from mpio_fuse.scsi.wire import Fields, data_in_buffer

TOO_LARGE_FOR_10 = 0xFFFF_FFFF
MAXIMUM_SIZE_BYTES = (1 << 63) - 1
"""What a file's size can say (off_t)."""

BLOCK_SIZES_BYTES = frozenset(1 << exponent for exponent in range(9, 17))
"""512 bytes to 64 KiB.  520-byte and like formats hold protection data that a file cannot show."""


@attrs.frozen
class Capacity:
    """A logical unit's size.  What READ CAPACITY(10) cannot say has its default."""

    last_lba: int
    block_size_bytes: int
    physical_exponent: int = 0
    lowest_aligned_lba: int = 0
    is_protected: bool = False
    is_provisioned: bool = False
    reads_zeros: bool = False

    @property
    def blocks(self) -> int:
        return self.last_lba + 1

    @property
    def size_bytes(self) -> int:
        return self.blocks * self.block_size_bytes

    @property
    def physical_block_size_bytes(self) -> int:
        return self.block_size_bytes << self.physical_exponent


def read_capacity_10() -> Command:
    """READ CAPACITY(10); decode with `decode_read_capacity_10`."""
    cdb = bytes((OpCode.READ_CAPACITY_10,)) + bytes(9)
    return Command("READ CAPACITY(10)", cdb, data_in=bytearray(8))


def read_capacity_16() -> Command:
    """READ CAPACITY(16); decode with `decode_read_capacity_16`."""
    data_in, allocation = data_in_buffer(32, 4, "READ CAPACITY(16)")
    cdb = bytes((OpCode.SERVICE_ACTION_IN_16, ServiceActionIn16.READ_CAPACITY_16))
    return Command("READ CAPACITY(16)", cdb + bytes(8) + allocation + bytes(2), data_in=data_in)


def decode_read_capacity_10(data: Buffer) -> Capacity | None:
    """The capacity, or None: "issue a READ CAPACITY(16)" (SBC-3 5.15.2, an LBA of FFFFFFFFh)."""
    fields = Fields("READ CAPACITY(10) data", data)
    last_lba, block_size_bytes = fields.u32(0), fields.u32(4)
    if last_lba == TOO_LARGE_FOR_10:
        return None
    return _checked(fields.what, Capacity(last_lba, block_size_bytes))


def decode_read_capacity_16(data: Buffer) -> Capacity:
    """The capacity, from the first 16 bytes of the answer."""
    fields = Fields("READ CAPACITY(16) data", data)
    capacity = Capacity(
        last_lba=fields.u64(0),
        block_size_bytes=fields.u32(8),
        physical_exponent=fields.bits(13, 3, 0),
        lowest_aligned_lba=fields.u16(14) & 0x3FFF,
        is_protected=fields.flag(12, 0),
        is_provisioned=fields.flag(14, 7),
        reads_zeros=fields.flag(14, 6),
    )
    return _checked(fields.what, capacity)


def _checked(what: str, capacity: Capacity) -> Capacity:
    if capacity.block_size_bytes not in BLOCK_SIZES_BYTES:
        raise DecodeError(f"{what}: blocks of {capacity.block_size_bytes} bytes cannot be served")
    if capacity.size_bytes > MAXIMUM_SIZE_BYTES:
        raise DecodeError(f"{what}: {capacity.blocks} blocks are larger than any file")
    return capacity
