"""The table of opens (tests/open_table) holds on the model of the array, line by line."""

import pytest

from tests.open_table.model_stage import ModelStage
from tests.open_table.play import play
from tests.open_table.row import CASES, Case, difference, read_rows

ROWS = read_rows()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_an_open_is_as_in_the_table(case: Case) -> None:
    assert difference(ROWS[case], await play(case, ModelStage())) == ""
