"""Reading and writing big-endian fields, with every bound checked.

All decoders of this package read through `Fields`.  What a target sent is hostile: a field that is not
there raises `DecodeError`, and nothing else is ever raised.  A field beyond the end is never zero.
"""

import enum
from typing import TypeVar

import attrs

from mpio_fuse.errors import DecodeError, UsageError

PRINTABLE = range(0x20, 0x7F)

Code = TypeVar("Code", bound=enum.IntEnum)


@attrs.frozen
class Fields:
    """The fields of one parameter list; ``what`` names it in errors."""

    what: str
    data: bytes = attrs.field(converter=bytes, repr=lambda data: data.hex(" "))

    def __len__(self) -> int:
        return len(self.data)

    def raw(self, offset: int, length_bytes: int) -> bytes:
        """Exactly these bytes."""
        end = offset + length_bytes
        if not 0 <= offset <= end <= len(self.data):
            raise DecodeError(f"{self.what}: byte {end} wanted, {len(self.data)} received")
        return self.data[offset:end]

    def uint(self, offset: int, length_bytes: int) -> int:
        """A big-endian unsigned number of that many bytes."""
        return int.from_bytes(self.raw(offset, length_bytes), "big")

    def u8(self, offset: int) -> int:
        return self.uint(offset, 1)

    def u16(self, offset: int) -> int:
        return self.uint(offset, 2)

    def u32(self, offset: int) -> int:
        return self.uint(offset, 4)

    def u64(self, offset: int) -> int:
        return self.uint(offset, 8)

    def bits(self, offset: int, high: int, low: int) -> int:
        """Bits ``high`` to ``low`` of one byte, as the standard's tables number them (7 to 0)."""
        return self.u8(offset) >> low & (1 << high - low + 1) - 1

    def flag(self, offset: int, bit: int) -> bool:
        return bool(self.bits(offset, bit, bit))

    def text(self, offset: int, length_bytes: int) -> str:
        """A left-aligned ASCII field (SPC-4 4.3.1) without its padding; hostile bytes become ``?``."""
        return printable(self.raw(offset, length_bytes).rstrip(b" \0"))

    def part(self, what: str, offset: int, length_bytes: int) -> "Fields":
        """A nested list of that length, which reports its own name."""
        return Fields(what, self.raw(offset, length_bytes))

    def body(self, offset: int, length_bytes: int) -> bytes:
        """As much of a list of that length as was received: for lists that may be cut off."""
        return self.data[offset : offset + length_bytes]


def printable(data: bytes) -> str:
    """Text that is safe to print on a terminal: each byte that is not printable ASCII becomes ``?``."""
    return "".join(chr(byte) if byte in PRINTABLE else "?" for byte in data)


def known(codes: type[Code], value: int, what: str) -> Code:
    """The member with that value; a code the standard reserves is a `DecodeError`."""
    try:
        return codes(value)
    except ValueError:
        raise DecodeError(f"{what}: {value:#x} is no {codes.__name__}") from None


def uint_bytes(value: int, length_bytes: int, what: str) -> bytes:
    """Big-endian bytes for a CDB or parameter list.

    Raises:
        UsageError: the value does not fit its field.
    """
    if not 0 <= value < 1 << 8 * length_bytes:
        raise UsageError(f"{what} {value} does not fit in {length_bytes} bytes")
    return value.to_bytes(length_bytes, "big")


def data_in_buffer(length_bytes: int, field_bytes: int, what: str) -> tuple[bytearray, bytes]:
    """A buffer for an answer, and the ALLOCATION LENGTH field that announces it."""
    field = uint_bytes(length_bytes, field_bytes, f"{what} allocation length")
    return bytearray(length_bytes), field
