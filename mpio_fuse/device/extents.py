"""Byte ranges in terms of logical blocks: what goes straight, what is read first.  Pure."""

from collections.abc import Iterator

import attrs


@attrs.frozen
class Extent:
    """``blocks`` whole logical blocks from ``lba`` on."""

    lba: int
    blocks: int

    @property
    def end_lba(self) -> int:
        """The first block after the extent."""
        return self.lba + self.blocks


def covering(offset_bytes: int, length_bytes: int, block_size_bytes: int) -> Extent:
    """The smallest extent that holds the byte range."""
    first = offset_bytes // block_size_bytes
    end = -(-(offset_bytes + length_bytes) // block_size_bytes)
    return Extent(first, end - first)


def is_aligned(offset_bytes: int, length_bytes: int, block_size_bytes: int) -> bool:
    """Whether the byte range is made of whole blocks."""
    return offset_bytes % block_size_bytes == 0 and length_bytes % block_size_bytes == 0


def pieces(extent: Extent, max_blocks: int) -> Iterator[Extent]:
    """The extent in order, in pieces that one command may carry."""
    for lba in range(extent.lba, extent.end_lba, max_blocks):
        yield Extent(lba, min(max_blocks, extent.end_lba - lba))
