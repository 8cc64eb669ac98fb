"""The table of opens (tests/open_table) holds on LIO, line by line, with sg_persist of a third host as the witness."""

import pytest

from tests.lab.fabric import FabricReport
from tests.open_table.lio_stage import lio_stage
from tests.open_table.play import play
from tests.open_table.row import difference, read_rows


@pytest.mark.in_guest
@pytest.mark.fabric(kind="iscsi", hosts=3, underpaths=2)
async def test_every_open_on_lio_is_as_in_the_table(lab_fabric: FabricReport) -> None:
    different = []
    for case, row in read_rows().items():
        async with lio_stage(lab_fabric) as stage:
            different += [difference(row, await play(case, stage))]
    assert "\n".join(filter(None, different)) == ""
