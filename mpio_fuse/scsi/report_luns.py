"""REPORT LUNS (SPC-4 6.33): which logical units a target shows to this nexus."""

import attrs

from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.wire import Fields, data_in_buffer

HEADER_LENGTH_BYTES = 8
LUN_LENGTH_BYTES = 8
MAXIMUM_LENGTH_BYTES = HEADER_LENGTH_BYTES + LUN_LENGTH_BYTES * 16384
"""What we ask for at most, whatever the target claims to have (SAM-5: up to 16,384 single level LUNs)."""


@attrs.frozen
class Lun:
    """A logical unit number as SAM-5 4.7 writes it: 8 bytes."""

    raw: bytes = attrs.field(repr=lambda raw: raw.hex(" "))

    @property
    def number(self) -> int | None:
        """The number of a single level LUN in peripheral (bus 0) or flat space addressing, else None."""
        method, value = self.raw[0] >> 6, int.from_bytes(self.raw[:2], "big") & 0x3FFF
        if any(self.raw[2:]) or method > 1 or (method == 0 and value > 0xFF):
            return None
        return value


@attrs.frozen
class Luns:
    """A LUN inventory.  ``luns`` are those received whole; ``length_bytes`` is the whole list's length."""

    luns: tuple[Lun, ...]
    length_bytes: int
    is_truncated: bool


def report_luns(length_bytes: int = 4096) -> Command:
    """REPORT LUNS; decode with `decode_report_luns`."""
    data_in, allocation = data_in_buffer(length_bytes, 4, "REPORT LUNS")
    cdb = bytes((OpCode.REPORT_LUNS,)) + bytes(5) + allocation + bytes(2)
    return Command("REPORT LUNS", cdb, data_in=data_in)


def decode_report_luns(data: Buffer) -> Luns:
    """The inventory; when truncated, ask again with ``length_bytes`` (already clamped)."""
    fields = Fields("REPORT LUNS data", data)
    list_length = fields.u32(0)
    fields.raw(0, HEADER_LENGTH_BYTES)
    body = fields.body(HEADER_LENGTH_BYTES, list_length)
    whole = range(0, len(body) - LUN_LENGTH_BYTES + 1, LUN_LENGTH_BYTES)
    return Luns(
        luns=tuple(Lun(body[offset : offset + LUN_LENGTH_BYTES]) for offset in whole),
        length_bytes=min(HEADER_LENGTH_BYTES + list_length, MAXIMUM_LENGTH_BYTES),
        is_truncated=len(body) < list_length,
    )
