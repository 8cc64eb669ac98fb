"""MODE SENSE(6) (SPC-4 6.11), for what its header says of a disk (SBC-3 6.5.1, table 198)."""

import attrs

from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.wire import Fields, data_in_buffer

DISABLE_BLOCK_DESCRIPTORS = 0x08
ALL_PAGES = 0x3F


@attrs.frozen
class ModeHeader:
    """The DEVICE-SPECIFIC PARAMETER of the mode parameter header: ``has_fua`` is the DPOFUA bit."""

    is_write_protected: bool
    has_fua: bool


def mode_sense_6(length_bytes: int = 252) -> Command:
    """MODE SENSE(6), all pages; decode with `decode_mode_header`."""
    data_in, allocation = data_in_buffer(length_bytes, 1, "MODE SENSE(6)")
    cdb = bytes((OpCode.MODE_SENSE_6, DISABLE_BLOCK_DESCRIPTORS, ALL_PAGES, 0)) + allocation + b"\0"
    return Command("MODE SENSE(6)", cdb, data_in=data_in)


def decode_mode_header(data: Buffer) -> ModeHeader:
    """The header alone; the pages behind it are not looked at.

    Raises:
        DecodeError: fewer than the header's 4 bytes.
    """
    fields = Fields("MODE SENSE(6) data", data).part("mode parameter header", 0, 4)
    return ModeHeader(is_write_protected=fields.flag(2, 7), has_fua=fields.flag(2, 4))
