"""Reservation keys are bytes; text is read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey


@given(st.integers(0, (1 << 64) - 1))
def test_text_and_number_round_trip(value: int) -> None:
    key = ReservationKey.from_int(value)
    assert int(key) == value
    assert str(key) == f"0x{value:016x}"
    assert ReservationKey.parse(str(key)) == key
    assert ReservationKey.parse(f"{value:X}") == key


@pytest.mark.hazard(28)
def test_a_prefix_is_another_key() -> None:
    assert ReservationKey.parse("0x123ab") != ReservationKey.parse("0x123abc")
    assert ReservationKey.parse("0x0123ab") == ReservationKey.parse("123ab")


@pytest.mark.parametrize(
    "text",
    ["", "0x", "key", "-1", "+1", "1_0", "0x1 2", "1" * 17, "0x" + "0" * 17, "1.5", "0b1x", "١٢"],
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a reservation key"):
        ReservationKey.parse(text)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_numbers_of_more_than_64_bits_are_refused(value: int) -> None:
    with pytest.raises(UsageError):
        ReservationKey.from_int(value)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_key_has_8_bytes(length: int) -> None:
    with pytest.raises(UsageError):
        ReservationKey(bytes(length))


@pytest.mark.parametrize("text", ["0", "0x0000000000000000"])
def test_no_host_has_key_0(text: str) -> None:
    assert ReservationKey.parse(text) == ZERO_KEY
    with pytest.raises(UsageError, match="key 0"):
        ReservationKey.parse_host(text)
    assert ReservationKey.parse_host("1").for_host() == ReservationKey.from_int(1)


def test_types_have_the_standards_full_names() -> None:
    assert {int(one): one.title for one in PrType} == {
        1: "Write Exclusive",
        3: "Exclusive Access",
        5: "Write Exclusive, registrants only",
        6: "Exclusive Access, registrants only",
        7: "Write Exclusive, all registrants",
        8: "Exclusive Access, all registrants",
    }
    assert [one for one in PrType if one.is_all_registrants] == [7, 8]
    assert [one for one in PrType if one.is_registrants_only] == [5, 6]
