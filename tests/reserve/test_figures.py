"""Each figure's code has exactly the edges of the figure, transcribed by hand in figures.toml."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box
from mpio_fuse.reserve.walk import Edge, boxes, walk
from tests.reserve.charts import CHARTS, Chart

FIGURES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("figures.toml").read_text()
)


def printed(chart: Chart) -> set[Edge]:
    """The edges that the figure itself has."""
    return {(str(box), outcome, then) for box, outcome, then in FIGURES[chart.figure][chart.table]}


def deviations(chart: Chart) -> set[Edge]:
    """The edges that we have besides."""
    rows = FIGURES[chart.figure].get("deviations", [])
    return {(str(box), outcome, then) for box, outcome, then in rows}


def acts(chart: Chart) -> dict[str, Act]:
    """What each box of the figure does."""
    return {label: Act[name] for label, name in FIGURES[chart.figure]["boxes"].items()}


@pytest.mark.parametrize("chart", CHARTS, ids=str)
def test_code_has_exactly_the_edges_of_the_figure(chart: Chart) -> None:
    assert set(walk(chart.procedure)) == printed(chart) | deviations(chart)


@pytest.mark.parametrize("chart", CHARTS, ids=str)
def test_what_the_figure_does_not_have_is_marked_as_deviation(chart: Chart) -> None:
    assert set(walk(chart.procedure, deviating=False)) == printed(chart)


@pytest.mark.parametrize("chart", CHARTS, ids=str)
def test_each_box_does_what_the_figure_says(chart: Chart) -> None:
    done = {label: found.act for label, found in boxes(chart.procedure).items()}
    assert done.items() <= acts(chart).items()


def test_every_drawn_figure_is_walked() -> None:
    assert {chart.figure for chart in CHARTS} == set(FIGURES)


def test_every_box_is_reached_in_some_case() -> None:
    for figure, tables in FIGURES.items():
        reached = {
            label for chart in CHARTS if chart.figure == figure for label in boxes(chart.procedure)
        }
        assert reached == set(tables["boxes"])


def test_one_label_for_two_different_boxes_is_found() -> None:
    def ambiguous() -> Procedure:
        yield box("1", Act.CLOSE_ALL)
        yield box("1", Act.OPEN_ALL)
        return End.CLOSED

    with pytest.raises(ValueError, match="two boxes 1 differ"):
        boxes(ambiguous)


def test_the_walk_finds_an_outcome_that_leads_nowhere() -> None:
    def forgetful() -> Procedure:
        match (yield box("1", Act.RESERVE)):
            case Outcome.GOOD:
                return End.OPENED
        return None  # type: ignore[return-value]  # the mistake the walk is there to find

    with pytest.raises(ValueError, match="leads nowhere"):
        walk(forgetful)


def test_the_walk_finds_a_chart_that_does_not_end() -> None:
    def endless() -> Procedure:
        while True:
            yield box("1", Act.CLOSE_ALL)

    with pytest.raises(ValueError, match="does not end"):
        walk(endless)
