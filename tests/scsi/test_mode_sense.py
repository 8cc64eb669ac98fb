"""MODE SENSE(6): the header that tells write protection and FUA."""

import pytest

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.mode_sense import ModeHeader, decode_mode_header, mode_sense_6


def test_the_cdb_asks_for_all_pages_without_block_descriptors() -> None:
    assert mode_sense_6().cdb == bytes.fromhex("1a 08 3f 00 fc 00")


@pytest.mark.parametrize(
    ("header", "decoded"),
    [
        ("0f 00 00 00", ModeHeader(is_write_protected=False, has_fua=False)),
        ("0f 00 10 00", ModeHeader(is_write_protected=False, has_fua=True)),
        ("0f 00 80 00", ModeHeader(is_write_protected=True, has_fua=False)),
        ("0f 00 90 00 08 12", ModeHeader(is_write_protected=True, has_fua=True)),
    ],
)
def test_the_device_specific_parameter_is_read(header: str, decoded: ModeHeader) -> None:
    assert decode_mode_header(bytes.fromhex(header)) == decoded


@pytest.mark.parametrize("length", range(4))
def test_a_header_cut_off_is_an_error(length: int) -> None:
    with pytest.raises(DecodeError, match="wanted"):
        decode_mode_header(bytes(length))
