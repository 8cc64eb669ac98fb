"""Sense data (SPC-4 4.5): why a command ended with CHECK CONDITION, in fixed and descriptor format.

Sense is short, and may be cut off by whoever carried it.  Key, ASC and ASCQ are needed whole; of the rest
what arrived is kept.  Fixed sense whose own ADDITIONAL SENSE LENGTH says that it ends before the ASC has
"no additional sense information" (00/00), which is the target's word and not made up here.
"""

import enum

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.wire import Fields, data_in_buffer, uint_bytes

SENSE_LENGTH_BYTES = 252
"""SPC-4 4.5.1: sense data is at most 252 bytes."""

FIXED_CURRENT, FIXED_DEFERRED = 0x70, 0x71
DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED = 0x72, 0x73

_FIXED_LENGTH_BYTES = 18
_DESCRIPTOR_HEADER_LENGTH_BYTES = 8


class SenseKey(enum.IntEnum):
    """SENSE KEY (SPC-4 table 48)."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    VENDOR_SPECIFIC = 0x9
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    RESERVED = 0xC
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE
    COMPLETED = 0xF

    @property
    def title(self) -> str:
        """As the standard writes it: ``UNIT ATTENTION``."""
        return self.name.replace("_", " ")


class SenseDescriptorType(enum.IntEnum):
    """DESCRIPTOR TYPE (SPC-4 table 30), those decoded here."""

    INFORMATION = 0x00
    SENSE_KEY_SPECIFIC = 0x02


@attrs.frozen
class Sense:
    """One piece of sense data.

    ``is_deferred``: about an earlier command, one that had ended well; this one was not executed.
    ``information`` is the LBA of a medium error, None when not valid.  ``key_specific`` is the three bytes
    of 4.5.2.4 when their SKSV bit is set.  ``descriptors`` are (type, bytes after the length) pairs.
    """

    key: SenseKey
    asc: int = 0
    ascq: int = 0
    is_deferred: bool = False
    information: int | None = None
    key_specific: bytes | None = None
    descriptors: tuple[tuple[int, bytes], ...] = ()

    @property
    def progress(self) -> float | None:
        """How far a format or the like is, 0.0 to 1.0 (4.5.2.4.4); None when not told."""
        has_progress = self.key in {SenseKey.NO_SENSE, SenseKey.NOT_READY}
        if self.key_specific is None or not has_progress:
            return None
        return int.from_bytes(self.key_specific[1:], "big") / 0x10000

    @property
    def code(self) -> tuple[int, int, int]:
        """Key, ASC and ASCQ, as in 6/29/03."""
        return self.key, self.asc, self.ascq


def request_sense(length_bytes: int = SENSE_LENGTH_BYTES) -> Command:
    """REQUEST SENSE (SPC-4 6.39) in fixed format; decode with `decode_sense`."""
    data_in, allocation = data_in_buffer(length_bytes, 1, "REQUEST SENSE")
    cdb = bytes((OpCode.REQUEST_SENSE, 0, 0, 0)) + allocation + b"\0"
    return Command("REQUEST SENSE", cdb, data_in=data_in)


def decode_sense(data: Buffer) -> Sense:
    """Sense data of either format.

    Raises:
        DecodeError: empty, vendor specific (7Fh), a reserved response code, or cut off before the ASCQ.
    """
    fields = Fields("sense data", data)
    response_code = fields.bits(0, 6, 0)
    if response_code in {FIXED_CURRENT, FIXED_DEFERRED}:
        return _decode_fixed(fields, is_deferred=response_code == FIXED_DEFERRED)
    if response_code in {DESCRIPTOR_CURRENT, DESCRIPTOR_DEFERRED}:
        return _decode_descriptor(fields, is_deferred=response_code == DESCRIPTOR_DEFERRED)
    raise DecodeError(f"{fields.what}: response code {response_code:#04x} is not sense")


def encode_sense(sense: Sense) -> bytes:
    """Fixed format sense (4.5.3), as targets send it; descriptors other than INFORMATION are left out.

    Raises:
        UsageError: the information does not fit fixed format's 32 bits.
    """
    response_code = FIXED_DEFERRED if sense.is_deferred else FIXED_CURRENT
    valid = 0 if sense.information is None else 0x80
    information = uint_bytes(sense.information or 0, 4, "sense information")
    length = _FIXED_LENGTH_BYTES - 8
    head = bytes((response_code | valid, 0, sense.key)) + information + bytes((length,))
    key_specific = sense.key_specific or bytes(3)
    return head + bytes(4) + bytes((sense.asc, sense.ascq, 0)) + key_specific


def _decode_fixed(fields: Fields, *, is_deferred: bool) -> Sense:
    """4.5.3, table 47."""
    end = 8 + fields.u8(7)
    information = fields.u32(3) if fields.flag(0, 7) else None
    has_key_specific = end >= _FIXED_LENGTH_BYTES <= len(fields) and fields.flag(15, 7)
    return Sense(
        key=SenseKey(fields.bits(2, 3, 0)),
        asc=fields.u8(12) if end > 12 else 0,
        ascq=fields.u8(13) if end > 13 else 0,
        is_deferred=is_deferred,
        information=information,
        key_specific=fields.raw(15, 3) if has_key_specific else None,
    )


def _decode_descriptor(fields: Fields, *, is_deferred: bool) -> Sense:
    """4.5.2, table 28."""
    descriptors = _descriptors(fields)
    information = key_specific = None
    for kind, body in descriptors:
        if kind == SenseDescriptorType.INFORMATION and len(body) == 10 and body[0] & 0x80:
            information = int.from_bytes(body[2:], "big")
        if kind == SenseDescriptorType.SENSE_KEY_SPECIFIC and len(body) == 6 and body[2] & 0x80:
            key_specific = body[2:5]
    return Sense(
        key=SenseKey(fields.bits(1, 3, 0)),
        asc=fields.u8(2),
        ascq=fields.u8(3),
        is_deferred=is_deferred,
        information=information,
        key_specific=key_specific,
        descriptors=descriptors,
    )


def _descriptors(fields: Fields) -> tuple[tuple[int, bytes], ...]:
    """The whole descriptors that arrived, as far as ADDITIONAL SENSE LENGTH goes."""
    found = []
    if len(fields) < _DESCRIPTOR_HEADER_LENGTH_BYTES:
        return ()
    body = fields.body(_DESCRIPTOR_HEADER_LENGTH_BYTES, fields.u8(7))
    while len(body) >= 2 and len(body) >= 2 + body[1]:
        found.append((body[0], body[2 : 2 + body[1]]))
        body = body[2 + body[1] :]
    return tuple(found)
