"""Identities as people write them down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.scsi.identity import Wwid, WwidKind
from mpio_fuse.scsi.wwid_name import wwid_name

NAA_6 = "naa.6001405deadbeef00010000000000000"


@given(st.binary(min_size=1, max_size=300))
def test_it_is_the_inverse_of_an_identitys_text(text: bytes) -> None:
    name = str(Wwid(WwidKind.T10, b"VENDOR  " + text.strip(b" \0") + b"x"))
    assert wwid_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (NAA_6, NAA_6),
        (NAA_6.upper(), NAA_6),
        ("naa.5000C50012345678", "naa.5000c50012345678"),
        ("EUI.0025385971B0AA11", "eui.0025385971b0aa11"),
        ("t10.VENDOR%2F%20Disk.1", "t10.VENDOR%2f%20Disk.1"),
    ],
)
def test_case_does_not_matter_in_hexadecimal(text: str, name: str) -> None:
    assert wwid_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "database",
        "6001405deadbeef00010000000000000",
        "naa",
        "naa.",
        "naa.TYPO",
        NAA_6[:-1],
        NAA_6[:-2],
        f"{NAA_6}00",
        f"{NAA_6[:-2]} 0",
        "naa.1001405deadbeef00010000000000000",  # there is no such type of NAA
        "naa.6000000000000000000000000000000é",
        "eui.0025385971b0aa",
        "t10.VENDOR%20%20",  # a vendor, and nothing of the disk
        "uuid.0025385971b0aa11",
    ],
)
def test_what_no_lun_can_be_called_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no LUN has that WWID; see 'mpio-fuse discover'"):
        wwid_name(text)
