"""READ, WRITE and SYNCHRONIZE CACHE (SBC-3 5.10, 5.12, 5.22, 5.32 and their 16-byte forms).

The 10-byte form is used while it can say the range, because every disk has it; beyond 2^32 blocks or for
more than 65,535 blocks at once the 16-byte form.
"""

import struct
from collections.abc import Callable

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode

MAXIMUM_LBA_10 = 0xFFFF_FFFF
MAXIMUM_BLOCKS_10 = 0xFFFF
FUA = 0x08

_READ = {10: "READ(10)", 16: "READ(16)"}
_WRITE = {10: "WRITE(10)", 16: "WRITE(16)"}
_TEN = struct.Struct(">BBIxHx").pack
_SIXTEEN = struct.Struct(">BBQIxx").pack


def read(
    lba: int,
    into: bytearray | memoryview,
    block_size_bytes: int,
    *,
    fua: bool = False,
    timeout_s: float = 30.0,
) -> Command:
    """READ as many blocks as fit into the buffer, which must be whole blocks and at least one.

    Raises:
        UsageError: the buffer is not whole blocks, or the range cannot be said in any CDB.
    """
    blocks = _blocks(len(into), block_size_bytes)
    cdb = _transfer_cdb(OpCode.READ_10, OpCode.READ_16, lba, blocks, fua=fua)
    return Command(_READ[len(cdb)], cdb, b"", into, timeout_s)


def write(
    lba: int,
    data: Buffer,
    block_size_bytes: int,
    *,
    fua: bool = False,
    timeout_s: float = 30.0,
) -> Command:
    """WRITE whole blocks, at least one; ``fua`` says to the medium before the status is sent.

    Raises:
        UsageError: the data is not whole blocks, or the range cannot be said in any CDB.
    """
    blocks = _blocks(len(data), block_size_bytes)
    cdb = _transfer_cdb(OpCode.WRITE_10, OpCode.WRITE_16, lba, blocks, fua=fua)
    return Command(_WRITE[len(cdb)], cdb, data, None, timeout_s)


def synchronize_cache(lba: int = 0, blocks: int = 0, *, timeout_s: float = 60.0) -> Command:
    """SYNCHRONIZE CACHE; 0 blocks means to the end of the medium (SBC-3 5.22)."""
    ten, sixteen = OpCode.SYNCHRONIZE_CACHE_10, OpCode.SYNCHRONIZE_CACHE_16
    cdb = _transfer_cdb(ten, sixteen, lba, blocks, fua=False)
    return Command(f"SYNCHRONIZE CACHE({len(cdb)})", cdb, timeout_s=timeout_s)


def _blocks(length_bytes: int, block_size_bytes: int) -> int:
    blocks, rest = divmod(length_bytes, block_size_bytes)
    if rest or not blocks:
        raise UsageError(f"{length_bytes} bytes are not whole blocks of {block_size_bytes} bytes")
    return blocks


def _transfer_cdb(ten: OpCode, sixteen: OpCode, lba: int, blocks: int, *, fua: bool) -> bytes:
    flags = FUA if fua else 0
    if lba + max(blocks, 1) - 1 <= MAXIMUM_LBA_10 and blocks <= MAXIMUM_BLOCKS_10:
        return _packed(_TEN, ten, flags, lba, blocks)
    return _packed(_SIXTEEN, sixteen, flags, lba, blocks)


def _packed(
    pack: Callable[[int, int, int, int], bytes], code: OpCode, flags: int, lba: int, blocks: int
) -> bytes:
    try:
        return pack(code, flags, lba, blocks)
    except struct.error:
        raise UsageError(f"no CDB can say {blocks} blocks from block {lba} on") from None
