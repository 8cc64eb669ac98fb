"""Stamped data: every cell of 256 bytes repeats the number of the request that wrote it; 0 was never written."""

CELL_BYTES = 256
BLOCK_BYTES = 512
CELLS_PER_BLOCK = BLOCK_BYTES // CELL_BYTES
CELLS = 8
"""What users read and write.  Few, so that they get in each other's way."""

TORN = -1
"""The stamp of a cell that holds no single stamp."""

OTHER_DISK = (1 << 63) - 1
"""The stamp of all that lies on another disk."""

_STAMP_BYTES = 8


def stamped(request: int, cells: int) -> bytes:
    """That many cells with the request's stamp."""
    return request.to_bytes(_STAMP_BYTES, "big") * (CELL_BYTES // _STAMP_BYTES * cells)


def stamps_of(data: bytes) -> tuple[int, ...]:
    """The stamp of each cell."""
    return tuple(
        _stamp(data[start : start + CELL_BYTES]) for start in range(0, len(data), CELL_BYTES)
    )


def _stamp(cell: bytes) -> int:
    stamp = cell[:_STAMP_BYTES]
    is_whole = cell == stamp * (CELL_BYTES // _STAMP_BYTES)
    return int.from_bytes(stamp, "big") if is_whole else TORN
