"""Sizes for people."""

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(size_bytes: int) -> str:
    """``64 MiB``, ``1.5 TiB``: in the largest unit of which there is a whole one, cut after one digit."""
    unit = min(max(size_bytes.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    tenths = size_bytes * 10 >> 10 * unit
    amount = f"{tenths // 10}.{tenths % 10}".removesuffix(".0")
    return f"{amount} {UNITS[unit]}"
