"""Byte ranges as whole blocks."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.device.extents import Extent, covering, is_aligned, pieces

BLOCK_SIZES = st.sampled_from([512, 4096])


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 21), BLOCK_SIZES)
def test_the_covering_extent_is_the_smallest_that_holds_the_range(
    offset_bytes: int, length_bytes: int, size: int
) -> None:
    extent = covering(offset_bytes, length_bytes, size)
    assert extent.lba * size <= offset_bytes < (extent.lba + 1) * size
    end = offset_bytes + length_bytes
    assert (extent.end_lba - 1) * size < end <= extent.end_lba * size


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 21), BLOCK_SIZES)
def test_an_aligned_range_is_its_own_cover(offset_bytes: int, length_bytes: int, size: int) -> None:
    extent = covering(offset_bytes, length_bytes, size)
    exact = extent.lba * size == offset_bytes and extent.blocks * size == length_bytes
    assert is_aligned(offset_bytes, length_bytes, size) == exact


@given(st.integers(0, 1 << 40), st.integers(1, 5000), st.integers(1, 700))
def test_pieces_follow_one_another_and_none_is_too_large(
    lba: int, blocks: int, max_blocks: int
) -> None:
    parts = list(pieces(Extent(lba, blocks), max_blocks))
    assert parts[0].lba == lba
    assert all(one.end_lba == after.lba for one, after in pairwise(parts))
    assert parts[-1].end_lba == lba + blocks
    assert all(0 < part.blocks <= max_blocks for part in parts)
