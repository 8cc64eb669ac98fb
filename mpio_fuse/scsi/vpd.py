"""Vital product data pages (SPC-4 7.8, SBC-3 6.6), those that identify a disk and bound its I/O.

Each decoder wants the whole page, as its PAGE LENGTH counts it.  A page that was cut off is a
`DecodeError`, because half of page 0x83 could give a LUN another identity; ask again with
`page_length_bytes`.  A field that the page is too short to have, by the target's own word, is None.
"""

import enum

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Buffer
from mpio_fuse.scsi.wire import Fields

HEADER_LENGTH_BYTES = 4


class VpdPage(enum.IntEnum):
    """PAGE CODE (SPC-4 table 602, SBC-3 table 189)."""

    SUPPORTED_PAGES = 0x00
    UNIT_SERIAL_NUMBER = 0x80
    DEVICE_IDENTIFICATION = 0x83
    BLOCK_LIMITS = 0xB0
    BLOCK_DEVICE_CHARACTERISTICS = 0xB1


class Association(enum.IntEnum):
    """What a designator names (SPC-4 table 607)."""

    LOGICAL_UNIT = 0
    TARGET_PORT = 1
    TARGET_DEVICE = 2
    RESERVED = 3


class CodeSet(enum.IntEnum):
    """How a designator is written (SPC-4 table 445)."""

    BINARY = 1
    ASCII = 2
    UTF_8 = 3


class DesignatorType(enum.IntEnum):
    """DESIGNATOR TYPE (SPC-4 table 608)."""

    VENDOR_SPECIFIC = 0
    T10_VENDOR_ID = 1
    EUI_64 = 2
    NAA = 3
    RELATIVE_TARGET_PORT = 4
    TARGET_PORT_GROUP = 5
    LOGICAL_UNIT_GROUP = 6
    MD5_LOGICAL_UNIT = 7
    SCSI_NAME = 8
    PROTOCOL_SPECIFIC_PORT = 9


@attrs.frozen
class Designator:
    """One designation descriptor (SPC-4 7.8.6).  ``code_set`` and ``type`` may be codes unknown here."""

    association: Association
    code_set: int
    type: int
    designator: bytes = attrs.field(repr=lambda data: data.hex(" "))
    protocol: int | None = None

    @property
    def port_number(self) -> int | None:
        """The relative target port identifier or target port group, when it names one of those."""
        numbered = (DesignatorType.RELATIVE_TARGET_PORT, DesignatorType.TARGET_PORT_GROUP)
        if self.type in numbered and len(self.designator) == 4:
            return int.from_bytes(self.designator[2:], "big")
        return None


@attrs.frozen
class BlockLimits:
    """SBC-3 6.6.4, in logical blocks.  None: the target does not say (a zero, or a shorter page)."""

    optimal_granularity_blocks: int | None
    maximum_transfer_blocks: int | None
    optimal_transfer_blocks: int | None
    maximum_compare_and_write_blocks: int | None
    maximum_unmap_blocks: int | None
    maximum_write_same_blocks: int | None


@attrs.frozen
class BlockDeviceCharacteristics:
    """SBC-3 6.6.2.  ``rotation_rate`` is in rpm; 1 means not rotating, None not reported."""

    rotation_rate: int | None
    form_factor: int | None

    @property
    def is_rotating(self) -> bool | None:
        return None if self.rotation_rate is None else self.rotation_rate != 1


def page_length_bytes(data: Buffer) -> int:
    """How long the whole page is: the allocation length to ask for again when it was cut off."""
    return HEADER_LENGTH_BYTES + Fields("VPD page", data).u16(2)


def decode_supported_pages(data: Buffer) -> frozenset[int]:
    """Page 0x00 (SPC-4 7.8.14): the page codes the target has."""
    return frozenset(_page(data, VpdPage.SUPPORTED_PAGES).data[HEADER_LENGTH_BYTES:])


def decode_unit_serial_number(data: Buffer) -> str:
    """Page 0x80 (SPC-4 7.8.15), for people; many targets give every LUN the same one, or none."""
    page = _page(data, VpdPage.UNIT_SERIAL_NUMBER)
    return page.text(HEADER_LENGTH_BYTES, len(page) - HEADER_LENGTH_BYTES).strip()


def decode_device_identification(data: Buffer) -> tuple[Designator, ...]:
    """Page 0x83 (SPC-4 7.8.6): all designators in the order sent."""
    page = _page(data, VpdPage.DEVICE_IDENTIFICATION)
    designators = []
    offset = HEADER_LENGTH_BYTES
    while offset < len(page):
        length = 4 + page.u8(offset + 3)
        designators.append(_designator(page.part("VPD page 0x83 designator", offset, length)))
        offset += length
    return tuple(designators)


def decode_block_limits(data: Buffer) -> BlockLimits:
    """Page 0xB0; SBC-2 targets send its first 16 bytes only."""
    page = _page(data, VpdPage.BLOCK_LIMITS)
    page.raw(0, 16)
    return BlockLimits(
        optimal_granularity_blocks=_reported(page, 6, 2),
        maximum_transfer_blocks=_reported(page, 8, 4),
        optimal_transfer_blocks=_reported(page, 12, 4),
        maximum_compare_and_write_blocks=_reported(page, 5, 1),
        maximum_unmap_blocks=_reported(page, 20, 4),
        maximum_write_same_blocks=_reported(page, 36, 8),
    )


def decode_block_device_characteristics(data: Buffer) -> BlockDeviceCharacteristics:
    """Page 0xB1."""
    page = _page(data, VpdPage.BLOCK_DEVICE_CHARACTERISTICS)
    rate = page.u16(4)
    # SBC-3 table 192: 0 is not reported, 0002h to 0400h and FFFFh are reserved.
    is_known = rate == 1 or 0x0400 < rate < 0xFFFF
    form_factor = page.bits(7, 3, 0) if len(page) > 7 else 0
    return BlockDeviceCharacteristics(rate if is_known else None, form_factor or None)


def _page(data: Buffer, code: VpdPage) -> Fields:
    received = Fields(f"VPD page {code:#04x}", data)
    # A target that ignores EVPD answers with standard INQUIRY data; byte 1 tells them apart.
    if received.u8(1) != code:
        raise DecodeError(f"{received.what}: the answer is page {received.u8(1):#04x}")
    return received.part(received.what, 0, HEADER_LENGTH_BYTES + received.u16(2))


def _designator(fields: Fields) -> Designator:
    has_protocol = fields.flag(1, 7)
    return Designator(
        association=Association(fields.bits(1, 5, 4)),
        code_set=fields.bits(0, 3, 0),
        type=fields.bits(1, 3, 0),
        designator=fields.raw(4, len(fields) - 4),
        protocol=fields.bits(0, 7, 4) if has_protocol else None,
    )


def _reported(page: Fields, offset: int, length_bytes: int) -> int | None:
    if offset + length_bytes > len(page):
        return None
    return page.uint(offset, length_bytes) or None
