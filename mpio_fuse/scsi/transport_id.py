"""TransportIDs (SPC-4 7.6.4): which initiator port a registration belongs to.

A TransportID that is malformed or of a protocol not known here is kept as its bytes, with no name: the
registrant it belongs to is real all the same.
"""

import enum

import attrs

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.wire import Fields, printable, uint_bytes

MINIMUM_LENGTH_BYTES = 24
ISCSI_HEADER_LENGTH_BYTES = 4
ISCSI_SEPARATOR = ",i,0x"


class Protocol(enum.IntEnum):
    """PROTOCOL IDENTIFIER (SPC-4 table 477), those a TransportID is known for."""

    FIBRE_CHANNEL = 0x0
    SRP = 0x4
    ISCSI = 0x5
    SAS = 0x6


_BINARY_NAMES = {
    Protocol.FIBRE_CHANNEL: ("fc", 8, 8),
    Protocol.SRP: ("srp", 8, 16),
    Protocol.SAS: ("sas", 4, 8),
}
"""Prefix, offset and length of the port's name (SPC-4 tables 514, 516, 519)."""


@attrs.frozen
class TransportId:
    """One TransportID.  Compare whole (``==``): the bytes are the identity, the name is for people."""

    raw: bytes = attrs.field(converter=bytes, repr=lambda raw: raw.hex(" "))

    @property
    def protocol(self) -> int | None:
        return self.raw[0] & 0x0F if self.raw else None

    @property
    def format_code(self) -> int | None:
        return self.raw[0] >> 6 if self.raw else None

    @property
    def name(self) -> str | None:
        """``iqn...``, ``iqn...,i,0x<ISID>``, ``fc.<hex>``, ``sas.<hex>``, ``srp.<hex>``; else None."""
        if self.protocol == Protocol.ISCSI:
            return self._iscsi_name()
        if self.format_code != 0 or len(self.raw) < MINIMUM_LENGTH_BYTES:
            return None
        for protocol, (prefix, offset, length) in _BINARY_NAMES.items():
            if self.protocol == protocol:
                return f"{prefix}.{self.raw[offset : offset + length].hex()}"
        return None

    def _iscsi_name(self) -> str | None:
        """7.6.4.6: "a null-terminated, null-padded" name; format 01b has ",i,0x" and the ISID."""
        if len(self.raw) < ISCSI_HEADER_LENGTH_BYTES or self.format_code not in {0, 1}:
            return None
        length = int.from_bytes(self.raw[2:4], "big")
        text = self.raw[ISCSI_HEADER_LENGTH_BYTES : ISCSI_HEADER_LENGTH_BYTES + length]
        name, null, padding = text.partition(b"\0")
        if len(text) != length or not name or not null or any(padding):
            return None
        has_isid = ISCSI_SEPARATOR.encode() in name
        return printable(name) if has_isid == (self.format_code == 1) else None

    def __str__(self) -> str:
        return self.name or f"TransportID {self.raw.hex() or 'none'}"


def iscsi_transport_id(initiator_name: str, isid: str | None = None) -> TransportId:
    """The TransportID of an iSCSI initiator, or with ``isid`` (12 hex digits) of one of its ports.

    Raises:
        UsageError: not ASCII, empty, or too long for a TransportID.
    """
    text = initiator_name if isid is None else f"{initiator_name}{ISCSI_SEPARATOR}{isid}"
    if not initiator_name or not text.isascii() or not text.isprintable():
        raise UsageError(f"{initiator_name!r} is not an iSCSI initiator name")
    name = text.encode() + b"\0"
    # 7.6.4.6: ADDITIONAL LENGTH "shall be at least 20 and shall be a multiple of four".
    length = max(20, len(name) + -len(name) % 4)
    header = bytes((Protocol.ISCSI | (0x40 if isid is not None else 0), 0))
    return TransportId(
        header + uint_bytes(length, 2, "TransportID length") + name.ljust(length, b"\0")
    )


def fixed_transport_id(protocol: Protocol, port_name: bytes) -> TransportId:
    """The TransportID of a Fibre Channel, SRP or SAS initiator port by its binary name.

    Raises:
        UsageError: the name does not have its protocol's length.
    """
    if protocol not in _BINARY_NAMES or len(port_name) != _BINARY_NAMES[protocol][2]:
        raise UsageError(f"{port_name.hex()} is not the name of a {protocol.name} port")
    offset = _BINARY_NAMES[protocol][1]
    raw = bytes((protocol,)).ljust(offset, b"\0") + port_name
    return TransportId(raw.ljust(MINIMUM_LENGTH_BYTES, b"\0"))


def transport_id_in(fields: Fields, offset: int, length_bytes: int) -> TransportId | None:
    """The TransportID at that place, None when its length is 0."""
    return TransportId(fields.raw(offset, length_bytes)) if length_bytes else None
