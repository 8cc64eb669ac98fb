"""The model answers as LIO and tgt did: every command of the records, its status, sense and parameter data."""

import pytest

from mpio_fuse.target.quirks import LIO, TGT, Quirks
from tests.target.replay import Replay, Section, sections

RECORDED = {
    "lio": LIO,
    "lio_types": LIO,
    "lio_random": LIO,
    "tgt": TGT,
    "tgt_types": TGT,
    "tgt_random": TGT,
}


def cases() -> list[object]:
    return [
        pytest.param(quirks, section, id=f"{record}: {section.title}")
        for record, quirks in RECORDED.items()
        for section in sections(record)
    ]


@pytest.mark.parametrize(("quirks", "section"), cases())
def test_model_answers_as_it_did(quirks: Quirks, section: Section) -> None:
    answers = list(Replay(quirks).answers(section))
    assert answers
    assert [actual for _, actual in answers] == [expected for expected, _ in answers]
