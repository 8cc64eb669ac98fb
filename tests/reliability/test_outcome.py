"""What is complained of, and what is not."""

import attrs
import pytest

from tests.reliability.figures import Seen
from tests.reliability.outcome import Outcome

WELL = Seen(100, 0.05, 1.0, {}, None)
FAILED = attrs.evolve(WELL, errors={"EIO": 3}, first_error_s=0.5)
FENCED = attrs.evolve(WELL, errors={"EBADE": 3}, first_error_s=0.5)
OUTCOME = Outcome("case", "system", WELL, WELL, None, None, 0, 100, 0.05, [], 1.0)


def complaints(outcome: Outcome, *may_see: str, bad: str | None = None) -> list[str]:
    return outcome.complaints(may_see, bad)


def test_nothing_to_complain_of() -> None:
    assert complaints(OUTCOME) == []


@pytest.mark.parametrize(
    ("who", "outcome"),
    [
        ("writer", attrs.evolve(OUTCOME, writer=FAILED)),
        ("reader", attrs.evolve(OUTCOME, reader=FAILED)),
        ("opener", attrs.evolve(OUTCOME, opener=FAILED)),
    ],
)
def test_an_error_nobody_may_see(who: str, outcome: Outcome) -> None:
    assert complaints(outcome, "EBADE") == [f"the {who} was told EIO x 3 from 0.5 s"]


def test_an_error_they_may_see_and_fio_may_end_with() -> None:
    outcome = attrs.evolve(OUTCOME, writer=FENCED, reader=FENCED, fio_error=52)
    assert complaints(outcome, "EBADE") == []


def test_fio_alone() -> None:
    assert complaints(attrs.evolve(OUTCOME, fio_error=5), "EBADE") == ["fio ended with error 5"]


def test_a_wrong_byte_is_never_excused() -> None:
    outcome = attrs.evolve(OUTCOME, writer=FENCED, fio_error=52, wrong=["written 3: ..."])
    assert complaints(outcome, "EBADE") == ["wrong bytes: written 3: ..."]


def test_a_bad_sector_must_be_told() -> None:
    assert complaints(attrs.evolve(OUTCOME, bad_reader=FAILED), bad="EIO") == []
    (complaint,) = complaints(attrs.evolve(OUTCOME, bad_reader=WELL), bad="EIO")
    assert complaint == "the bad sector was read with none"


def test_what_the_system_could_not_undo() -> None:
    assert complaints(attrs.evolve(OUTCOME, left=["a key"])) == ["a key"]
