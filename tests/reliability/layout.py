"""Where on the LUN what is written, and what is in a block.  Pure."""

import re
from collections.abc import Iterator

import attrs

MIB = 1 << 20
BLOCK_BYTES = 4096

BAD_OFFSET_BYTES = 4656 * 512
"""The block with the bad sector: the first whole one with what scsi_debug calls bad, 4660 to 4669."""
BAD_SECTOR = 4660

FIO_OFFSET_BYTES = 8 * MIB
FIO_LENGTH_BYTES = 40 * MIB
"""As much as it writes in 20 s: then it closes the file and opens it again, which is another story than a stall."""


@attrs.frozen
class Region:
    """Blocks that one of the probe's threads writes or reads."""

    name: str
    offset_bytes: int
    slots: int

    def offset_of(self, slot: int) -> int:
        return self.offset_bytes + slot * BLOCK_BYTES

    def offsets(self) -> Iterator[int]:
        return (self.offset_of(slot) for slot in range(self.slots))


WRITTEN = Region("written", 4 * MIB, 64)
"""Written again and again."""
STANDING = Region("standing", 5 * MIB, 64)
"""Written once, before anything happens."""


def stamp(region: str, slot: int, serial: int) -> bytes:
    """A block that tells where it belongs and which write it is from, all over."""
    text = f"{region} {slot:06d} {serial:012d} ".encode()
    return (text * (BLOCK_BYTES // len(text) + 1))[:BLOCK_BYTES]


def serial_in(block: bytes, region: str, slot: int) -> int | None:
    """Which write a block is from; None: it is no whole block of that place."""
    found = re.match(rb"\w+ \d{6} (\d{12}) ", block)
    if found is None or block != stamp(region, slot, int(found[1])):
        return None
    return int(found[1])
