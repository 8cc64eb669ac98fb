"""Each figure's code has exactly the edges of the figure, transcribed by hand in figures.toml."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpio_fuse.reserve.fig05_register import register
from mpio_fuse.reserve.fig06_unregister import unregister
from mpio_fuse.reserve.fig08_forced_open import forced_open
from mpio_fuse.reserve.fig09_retain_reservation import retain_reservation
from mpio_fuse.reserve.fig10_no_reserve import no_reserve
from mpio_fuse.reserve.fig11_default_reserve import default_reserve
from mpio_fuse.reserve.fig12_release import release
from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box
from mpio_fuse.reserve.walk import Edge, walk

FIGURES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("figures.toml").read_text()
)


def drawn(figure: str, table: str = "edges") -> set[Edge]:
    """The edges of one figure's table, deviations included."""
    rows = FIGURES[figure][table] + FIGURES[figure].get("deviations", [])
    return {(str(box), outcome, then) for box, outcome, then in rows}


CASES: list[tuple[str, str, Callable[[], Procedure]]] = [
    ("fig05_register", "edges", register),
    ("fig06_unregister", "when_reserved", lambda: unregister(reserved=True)),
    ("fig06_unregister", "when_not_reserved", lambda: unregister(reserved=False)),
    ("fig08_forced_open", "edges", forced_open),
    ("fig09_retain_reservation", "edges", retain_reservation),
    ("fig10_no_reserve", "edges", no_reserve),
    ("fig11_default_reserve", "edges", default_reserve),
    ("fig12_release", "when_reserved", lambda: release(reserved=True, retain=False)),
    ("fig12_release", "when_retained_or_not_reserved", lambda: release(reserved=True, retain=True)),
    (
        "fig12_release",
        "when_retained_or_not_reserved",
        lambda: release(reserved=False, retain=False),
    ),
]


@pytest.mark.parametrize(("figure", "table", "procedure"), CASES)
def test_code_has_exactly_the_edges_of_the_figure(
    figure: str, table: str, procedure: Callable[[], Procedure]
) -> None:
    assert set(walk(procedure)) == drawn(figure, table)


def test_every_drawn_figure_is_walked() -> None:
    assert {figure for figure, _, _ in CASES} == set(FIGURES)


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
