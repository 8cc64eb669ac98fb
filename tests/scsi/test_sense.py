"""Sense data in both formats, and what real targets sent against sg_decode_sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.scsi import sense_codes
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.sense import Sense, SenseKey, decode_sense, encode_sense
from mpio_fuse.scsi.sense_codes import TEXTS, describe_sense
from tests.scsi.answers import Answer, checks, sense_texts

BYTES = st.integers(0, 255)


@pytest.mark.parametrize("golden", checks(), ids=lambda one: one.where)
def test_real_sense_is_read_as_sg3_utils_reads_it(golden: Answer) -> None:
    ours = decode_sense(golden.completion.sense)
    assert ours.key.title == golden.said("Sense key: (.*)").upper()
    text = golden.said("Additional sense: (.*)")
    assert TEXTS[ours.asc, ours.ascq].lower() == text.lower()
    assert ours.is_deferred == ("deferred" in golden.text)
    if "Info fld" in golden.text:
        assert ours.information == int(golden.said(r"Info fld=0x(\w+)"), 16)
    else:
        assert ours.information is None


def test_the_targets_sent_both_formats() -> None:
    assert {one.completion.sense[0] & 0x7F for one in checks()} == {0x70, 0x72}


@given(
    st.builds(
        Sense,
        key=st.sampled_from(SenseKey),
        asc=BYTES,
        ascq=BYTES,
        is_deferred=st.booleans(),
        information=st.one_of(st.none(), st.integers(0, 0xFFFF_FFFF)),
        key_specific=st.one_of(
            st.none(), st.binary(min_size=3, max_size=3).filter(lambda data: data[0] & 0x80)
        ),
    )
)
def test_fixed_format_round_trips(sense: Sense) -> None:
    assert decode_sense(encode_sense(sense)) == sense


@given(
    st.sampled_from(SenseKey),
    BYTES,
    BYTES,
    st.booleans(),
    st.lists(st.tuples(BYTES, st.binary(max_size=12)), max_size=6),
)
def test_descriptor_format_round_trips(
    key: SenseKey,
    asc: int,
    ascq: int,
    is_deferred: bool,  # noqa: FBT001 (drawn)
    descriptors: list[tuple[int, bytes]],
) -> None:
    body = b"".join(bytes((kind, len(data))) + data for kind, data in descriptors)
    head = bytes((0x73 if is_deferred else 0x72, key, asc, ascq, 0, 0, 0, len(body)))
    ours = decode_sense(head + body)
    assert (ours.code, ours.is_deferred) == ((key, asc, ascq), is_deferred)
    assert ours.descriptors == tuple(descriptors)


def test_information_of_a_descriptor_has_64_bits_and_a_valid_bit() -> None:
    head = bytes.fromhex("72 03 11 00 00 00 00 0c 00 0a")
    valid, invalid = (head + bytes((flag, 0)) + (1 << 40).to_bytes(8, "big") for flag in (0x80, 0))
    assert decode_sense(valid).information == 1 << 40
    assert decode_sense(invalid).information is None


def test_fixed_information_needs_its_valid_bit() -> None:
    assert decode_sense(bytes.fromhex("70 00 03 00 00 12 34 0a 00 00 00 00 11 00 00 00 00 00")) == (
        Sense(SenseKey.MEDIUM_ERROR, 0x11, 0x00)
    )


def test_sense_that_ends_before_its_code_by_its_own_word_has_none() -> None:
    assert decode_sense(bytes.fromhex("70 00 05 00 00 00 00 00")).code == (5, 0, 0)


def test_progress_belongs_to_not_ready() -> None:
    half = b"\x80\x80\x00"
    assert Sense(SenseKey.NOT_READY, 4, 4, key_specific=half).progress == 0.5
    assert Sense(SenseKey.NO_SENSE, key_specific=half).progress == 0.5
    assert Sense(SenseKey.ILLEGAL_REQUEST, key_specific=half).progress is None
    assert Sense(SenseKey.NOT_READY).progress is None


def test_a_code_without_a_text_is_described_by_its_number() -> None:
    assert describe_sense(Sense(SenseKey.NOT_READY, 0xEE, 0x01)) == "NOT READY ee/01"


def test_deferred_is_said() -> None:
    sense = Sense(SenseKey.MEDIUM_ERROR, 0x0C, 0, is_deferred=True)
    assert describe_sense(sense) == "deferred MEDIUM ERROR 0c/00 write error"


def test_checks_are_check_conditions() -> None:
    assert {one.completion.status for one in checks()} == {Status.CHECK_CONDITION}


def test_texts_are_the_standards_as_sg3_utils_has_them() -> None:
    assert {code: text.lower() for code, text in TEXTS.items()} == {
        code: text.lower() for code, text in sense_texts().items()
    }


NAMES = {
    name: code
    for name, code in vars(sense_codes).items()
    if name.isupper() and isinstance(code, tuple)
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_codes_are_words_of_their_texts(name: str) -> None:
    text = TEXTS[NAMES[name]].lower().replace("logical block address", "lba")
    assert all(word in text for word in name.lower().split("_")), text


def test_a_sense_key_specific_descriptor_needs_its_valid_bit() -> None:
    head = "72 02 04 04 00 00 00 08 02 06 00 00 "
    assert decode_sense(bytes.fromhex(head + "80 40 00 00")).progress == 0.25
    assert decode_sense(bytes.fromhex(head + "00 40 00 00")).key_specific is None
