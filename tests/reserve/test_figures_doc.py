"""docs/figures.md is what the procedures are, and shows every box of the printed figures."""

import re
import tomllib
from pathlib import Path

import pytest

from mpio_fuse.reserve import fig08_forced_open
from mpio_fuse.reserve.walk import walk
from tests.reserve import draw
from tests.reserve.charts import CHARTS

PRINTED = tomllib.loads(Path(__file__).with_name("printed_boxes.toml").read_text())


def _sections() -> dict[str, str]:
    """The page by figure: ``fig08_forced_open`` and the text below its heading."""
    parts = draw.FILE.read_text().split("\n## ")[1:]
    found = {re.search(r"(fig\d+_\w+)\.py", part): part for part in parts}
    return {match[1]: part for match, part in found.items() if match}


def test_the_page_is_fresh() -> None:
    assert draw.FILE.read_text() == draw.page(), "run scripts/draw-figures"


def test_checking_tells_a_stale_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "FILE", tmp_path / "figures.md")
    assert draw.main("--check") == 1
    assert draw.main() == 0
    assert draw.main("--check") == 0
    draw.FILE.write_text(draw.FILE.read_text().replace("EBUSY", "EIO", 1))
    stale = draw.FILE.read_text()
    assert draw.main("--check") == 1
    assert draw.FILE.read_text() == stale


def test_every_edge_has_an_arrow_and_deviations_are_dotted() -> None:
    for figure, text in _sections().items():
        charts = {tuple(walk(one.procedure)) for one in CHARTS if one.figure == figure}
        regular = {
            tuple(walk(one.procedure, deviating=False)) for one in CHARTS if one.figure == figure
        }
        if charts:
            assert len(re.findall("-->|-.->", text)) == sum(map(len, charts))
            assert text.count("-->") == sum(map(len, regular))


@pytest.mark.parametrize("figure", PRINTED)
def test_every_printed_box_is_on_the_page(figure: str) -> None:
    shown = set(re.findall(r"\b\d{3,4}\b", _sections()[figure]))
    assert set(map(str, PRINTED[figure])) <= shown


def test_every_figure_has_its_boxes_listed() -> None:
    assert set(PRINTED) == set(_sections())


def test_numbers_are_read_from_the_comments_of_their_lines() -> None:
    found = draw.numbers(fig08_forced_open)
    assert found.at_box["840"] == "850, 852"
    assert found.along(("840", "REFUSED", "EBUSY")) == "854, 856"
    assert found.along(("820", "FREE", "984")) == ""
