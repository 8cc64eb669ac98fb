"""What the logical unit says it is: standard INQUIRY and vital product data (SPC-4 6.4, 7.8; SBC-3 6.6)."""

import hashlib

import attrs

from mpio_fuse.scsi.vpd import Association, CodeSet, DesignatorType, VpdPage

VERSION_SPC_4 = 0x06
RESPONSE_DATA_FORMAT = 0x02
HISUP_FORMAT = 0x10 | RESPONSE_DATA_FORMAT
CMDQUE = 0x02
MULTIP = 0x10
IMPLICIT_ALUA = 0x10
NOT_ROTATING = 1
LIO_COMPANY_ID = "6001405"


def naa_of_serial(serial: str) -> bytes:
    """A registered extended NAA of its own for each serial number (7.8.6.6.5)."""
    return bytes.fromhex(LIO_COMPANY_ID + hashlib.sha256(serial.encode()).hexdigest()[:25])


@attrs.frozen
class Identity:
    """The names of one logical unit.  ``max_transfer_blocks`` 0 means that there is no limit."""

    serial: str = "5eed0001"
    vendor: str = "LIO-ORG"
    product: str = "SIMULATED"
    revision: str = "4.0"
    naa: bytes = attrs.field(
        default=attrs.Factory(lambda self: naa_of_serial(self.serial), takes_self=True),
        repr=lambda naa: naa.hex(),
    )
    max_transfer_blocks: int = 0
    physical_exponent: int = 0
    has_target_port_groups: bool = True

    def standard(self) -> bytes:
        """Standard INQUIRY data, 36 bytes."""
        groups = IMPLICIT_ALUA if self.has_target_port_groups else 0
        head = bytes((0, 0, VERSION_SPC_4, HISUP_FORMAT, 31, groups, MULTIP, CMDQUE))
        return head + _text(self.vendor, 8) + _text(self.product, 16) + _text(self.revision, 4)

    def vpd(self, page: int, target_port: int) -> bytes | None:
        """One vital product data page as that target port tells it; None when there is no such page."""
        bodies = {
            VpdPage.SUPPORTED_PAGES: bytes(sorted(VpdPage)),
            VpdPage.UNIT_SERIAL_NUMBER: self.serial.encode(),
            VpdPage.DEVICE_IDENTIFICATION: self._designators(target_port),
            VpdPage.BLOCK_LIMITS: self._block_limits(),
            VpdPage.BLOCK_DEVICE_CHARACTERISTICS: NOT_ROTATING.to_bytes(2, "big") + bytes(58),
        }
        if page not in set(VpdPage):
            return None
        body = bodies[VpdPage(page)]
        return bytes((0, page)) + len(body).to_bytes(2, "big") + body

    def _designators(self, target_port: int) -> bytes:
        name = _text(self.vendor, 8) + f"{self.product}:{self.serial}".encode()
        port = bytes(2) + target_port.to_bytes(2, "big")
        unit, through = Association.LOGICAL_UNIT, Association.TARGET_PORT
        return (
            _designator(CodeSet.BINARY, unit, DesignatorType.NAA, self.naa)
            + _designator(CodeSet.ASCII, unit, DesignatorType.T10_VENDOR_ID, name)
            + _designator(CodeSet.BINARY, through, DesignatorType.RELATIVE_TARGET_PORT, port)
        )

    def _block_limits(self) -> bytes:
        return bytes(4) + self.max_transfer_blocks.to_bytes(4, "big") + bytes(52)


def _designator(
    code_set: CodeSet, association: Association, kind: DesignatorType, data: bytes
) -> bytes:
    return bytes((code_set, association << 4 | kind, 0, len(data))) + data


def _text(text: str, length_bytes: int) -> bytes:
    return text.encode("ascii", "replace")[:length_bytes].ljust(length_bytes)
