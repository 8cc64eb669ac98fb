"""Which designators make an identity, and that identities are safe and distinct file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.scsi.identity import Wwid, WwidKind, logical_unit_wwid
from mpio_fuse.scsi.vpd import Association, CodeSet, Designator, DesignatorType

NAA_6 = bytes.fromhex("6001405deadbeef00010000000000000")
NAA_5 = bytes.fromhex("5000c50012345678")
NAA_2 = bytes.fromhex("2000001122334455")
NAA_3 = bytes.fromhex("3000000100000001")
EUI = bytes.fromhex("0025385971b0aa11")
T10 = b"VENDOR  disk 1"


def naa(data: bytes, association: Association = Association.LOGICAL_UNIT) -> Designator:
    return Designator(association, CodeSet.BINARY, DesignatorType.NAA, data)


def eui(data: bytes) -> Designator:
    return Designator(Association.LOGICAL_UNIT, CodeSet.BINARY, DesignatorType.EUI_64, data)


def t10(data: bytes) -> Designator:
    return Designator(Association.LOGICAL_UNIT, CodeSet.ASCII, DesignatorType.T10_VENDOR_ID, data)


BEST_FIRST = [naa(NAA_6), naa(NAA_5), naa(NAA_2), naa(NAA_3), eui(EUI), t10(T10)]


@pytest.mark.parametrize("better", range(len(BEST_FIRST) - 1))
def test_the_best_designator_wins_in_any_order(better: int) -> None:
    best, rest = BEST_FIRST[better], BEST_FIRST[better + 1 :]
    for order in ([best, *rest], [*rest, best]):
        found = logical_unit_wwid(order)
        assert found is not None
        assert found.designator == best.designator


def test_of_two_equals_every_underpath_takes_the_same() -> None:
    other = bytes.fromhex("6001405deadbeef00020000000000000")
    forwards = logical_unit_wwid([naa(NAA_6), naa(other)])
    assert forwards == logical_unit_wwid([naa(other), naa(NAA_6)]) == Wwid(WwidKind.NAA, NAA_6)


@pytest.mark.parametrize(
    "designator",
    [
        naa(NAA_6, Association.TARGET_PORT),
        naa(NAA_6, Association.TARGET_DEVICE),
        naa(NAA_6[:8]),
        naa(NAA_5 + bytes(8)),
        naa(b""),
        naa(bytes.fromhex("60" + "00" * 15)),
        naa(bytes.fromhex("4000000000000001")),
        Designator(Association.LOGICAL_UNIT, CodeSet.ASCII, DesignatorType.NAA, NAA_5),
        eui(bytes(8)),
        eui(EUI[:7]),
        t10(b"VENDOR  "),
        t10(b"VENDOR     \0\0"),
        t10(b""),
        Designator(Association.LOGICAL_UNIT, CodeSet.ASCII, DesignatorType.VENDOR_SPECIFIC, T10),
        Designator(Association.LOGICAL_UNIT, CodeSet.UTF_8, DesignatorType.SCSI_NAME, b"iqn.a"),
    ],
    ids=repr,
)
def test_what_tells_no_lun_from_another_is_no_identity(designator: Designator) -> None:
    assert logical_unit_wwid([designator]) is None


@pytest.mark.parametrize(
    ("designator", "name"),
    [
        (naa(NAA_6), "naa.6001405deadbeef00010000000000000"),
        (eui(EUI), "eui.0025385971b0aa11"),
        (t10(T10), "t10.VENDOR%20%20disk%201"),
        (t10(b"../etc/x\0/%\n"), "t10...%2fetc%2fx%00%2f%25%0a"),
    ],
)
def test_names(designator: Designator, name: str) -> None:
    assert str(logical_unit_wwid([designator])) == name


def test_only_naa_3_is_locally_assigned() -> None:
    local = [one.designator for one in BEST_FIRST if _wwid(one).is_locally_assigned]
    assert local == [NAA_3]


def _wwid(one: Designator) -> Wwid:
    found = logical_unit_wwid([one])
    assert found is not None
    return found


VENDOR_TEXTS = st.binary(min_size=9, max_size=251).filter(
    lambda data: data[8:].strip(b" \0") != b""
)


@given(VENDOR_TEXTS)
def test_every_name_is_a_safe_file_name(data: bytes) -> None:
    name = str(_wwid(t10(data)))
    assert name.startswith("t10.")
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\0 \\'\"$`*?")
    assert len(name) <= 255


@given(VENDOR_TEXTS, VENDOR_TEXTS)
def test_two_identities_never_share_a_name(one: bytes, other: bytes) -> None:
    assert (str(_wwid(t10(one))) == str(_wwid(t10(other)))) == (one == other)


@given(st.binary(min_size=100, max_size=240), st.binary(min_size=1, max_size=5))
def test_long_identities_that_start_alike_do_not_either(start: bytes, end: bytes) -> None:
    one, other = (t10(b"VENDOR  x" + start + last) for last in (end, end + b"!"))
    assert str(_wwid(one)) != str(_wwid(other))
