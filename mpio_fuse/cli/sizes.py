"""Sizes for people."""

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(size_bytes: int) -> str:
    """``64 MiB``, ``1.5 TiB``: in the largest unit of which there is a whole one, one digit behind the point."""
    unit = min(max(size_bytes.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    amount = f"{size_bytes / (1 << 10 * unit):.1f}".removesuffix(".0")
    return f"{amount} {UNITS[unit]}"
