"""INQUIRY (SPC-4 6.6): what the device behind an underpath says it is."""

import enum

import attrs

from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.wire import Fields, data_in_buffer, uint_bytes

STANDARD_LENGTH_BYTES = 96
"""SPC-4 6.6.2: standard INQUIRY data is at least 36 bytes and has its last defined field at 74."""

VPD_LENGTH_BYTES = 4096


class DeviceType(enum.IntEnum):
    """PERIPHERAL DEVICE TYPE (SPC-4 table 138), those a storage network shows."""

    DISK = 0x00
    TAPE = 0x01
    CD_DVD = 0x05
    MEDIA_CHANGER = 0x08
    STORAGE_ARRAY_CONTROLLER = 0x0C
    ENCLOSURE = 0x0D
    ZONED_DISK = 0x14
    WELL_KNOWN_LUN = 0x1E
    UNKNOWN = 0x1F


class Tpgs(enum.IntFlag):
    """TPGS (SPC-4 table 144): which kinds of asymmetric access the logical unit has."""

    NONE = 0
    IMPLICIT = 1
    EXPLICIT = 2


@attrs.frozen
class StandardInquiry:
    """Standard INQUIRY data (SPC-4 6.6.2).  Text is printable ASCII without padding."""

    peripheral_qualifier: int
    device_type: int
    is_removable: bool
    version: int
    response_data_format: int
    tpgs: Tpgs
    has_third_party_copy: bool
    is_protected: bool
    is_multi_port: bool
    has_command_queuing: bool
    vendor: str
    product: str
    revision: str

    @property
    def is_connected_disk(self) -> bool:
        """Whether a direct access block device is there; qualifier 1 or 3 means that none is."""
        return self.peripheral_qualifier == 0 and self.device_type == DeviceType.DISK


def inquiry(length_bytes: int = STANDARD_LENGTH_BYTES) -> Command:
    """INQUIRY for the standard data; decode with `decode_inquiry`."""
    data_in, allocation = data_in_buffer(length_bytes, 2, "INQUIRY")
    cdb = bytes((OpCode.INQUIRY, 0, 0)) + allocation + b"\0"
    return Command("INQUIRY", cdb, data_in=data_in)


def inquiry_vpd(page: int, length_bytes: int = VPD_LENGTH_BYTES) -> Command:
    """INQUIRY with EVPD for one vital product data page; decode with `mpio_fuse.scsi.vpd`."""
    data_in, allocation = data_in_buffer(length_bytes, 2, "INQUIRY")
    cdb = bytes((OpCode.INQUIRY, 0x01)) + uint_bytes(page, 1, "VPD page") + allocation + b"\0"
    return Command(f"INQUIRY VPD page {page:#04x}", cdb, data_in=data_in)


def decode_inquiry(data: Buffer) -> StandardInquiry:
    """Standard INQUIRY data, of which every target sends the first 36 bytes.

    Raises:
        DecodeError: fewer than 36 bytes, or the target itself says that it has fewer.
    """
    received = Fields("standard INQUIRY data", data)
    fields = received.part(received.what, 0, min(len(received), received.u8(4) + 5))
    return StandardInquiry(
        peripheral_qualifier=fields.bits(0, 7, 5),
        device_type=fields.bits(0, 4, 0),
        is_removable=fields.flag(1, 7),
        version=fields.u8(2),
        response_data_format=fields.bits(3, 3, 0),
        tpgs=Tpgs(fields.bits(5, 5, 4)),
        has_third_party_copy=fields.flag(5, 3),
        is_protected=fields.flag(5, 0),
        is_multi_port=fields.flag(6, 4),
        has_command_queuing=fields.flag(7, 1),
        vendor=fields.text(8, 8),
        product=fields.text(16, 16),
        revision=fields.text(32, 4),
    )
