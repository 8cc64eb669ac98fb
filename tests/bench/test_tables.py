"""Tables, picture and the page they are written to."""

from pathlib import Path
from typing import Any

import pytest

from tests.bench.ground import Ground
from tests.bench.guest import GUEST
from tests.bench.jobs import JOBS, Sample, jobs_named
from tests.bench.measure import Plan, turn
from tests.bench.native import NATIVE
from tests.bench.page import Conditions, Page
from tests.bench.plot import COLOURS, draw
from tests.bench.report import markdown
from tests.bench.results import Results

TABLES = """\
| IOPS (1M: MiB/s) | s: ours | k: sd itself |
|------------------|---------|--------------|
| 4k read QD1      |   2,500 |       25,000 |
| 1M read QD4      |     500 |        5,000 |

| times as fast | s : k |
|---------------|-------|
| 4k read QD1   |  0.10 |
| 1M read QD4   |  0.10 |

| CPU per I/O, us | s: ours | k: sd itself |
|-----------------|---------|--------------|
| 4k read QD1     |   380.0 |            - |
| 1M read QD4     |   380.0 |            - |

| p50 / p99, us | s: ours | k: sd itself |
|---------------|---------|--------------|
| 4k read QD1   | 11 / 20 |      11 / 20 |
| 1M read QD4   | 11 / 20 |      11 / 20 |"""

PAGE = (
    "# Page\n\n<!-- bench lab -->\nold\n<!-- end -->\n\n<!-- bench native -->\nold\n<!-- end -->\n"
)


def results() -> Results:
    made = Results({"s": "ours", "k": "sd itself"}, jobs_named("4k read QD1,1M read"), GUEST.pairs)
    for job in made.jobs:
        made.add("s", job, Sample(2500, 500, 11, 20, 380))
        made.add("k", job, Sample(25000, 5000, 11, 20, 0))
    return made


def test_the_tables() -> None:
    assert markdown(results()) == TABLES


def test_one_alone_has_no_ratios() -> None:
    alone = Results({"k": "sd itself"}, [JOBS[0]], GUEST.pairs)
    alone.add("k", JOBS[0], Sample(1, 1, 1, 1, 1))
    assert "times as fast" not in markdown(alone)


def test_the_picture_has_a_bar_for_each_job_and_rival() -> None:
    assert draw(results()).count(">0.10</text>") == len(results().jobs)


@pytest.mark.parametrize("ground", [NATIVE, GUEST])
def test_every_subject_has_a_colour_and_is_compared(ground: Ground[Any]) -> None:
    compared = {letter for pair in ground.pairs for letter in pair}
    assert set(ground.letters) == compared <= COLOURS.keys()


def test_another_one_is_first_in_each_round() -> None:
    assert ["".join(turn("abc", number)) for number in range(4)] == ["abc", "bca", "cab", "abc"]


def page(directory: Path, text: str = PAGE) -> Page:
    file = directory / "page.md"
    file.write_text(text)
    return Page(file, "lab")


def test_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    written = page(tmp_path)
    written.check()
    written.write(r"new \1")
    assert written.file.read_text() == PAGE.replace("old", r"new \1", 1)


@pytest.mark.parametrize("text", ["", PAGE + PAGE, PAGE.replace("<!-- end -->", "", 1)])
def test_a_page_without_the_one_place_is_refused_before_anything_is_measured(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ValueError, match="places for tables"):
        page(tmp_path, text).check()


def test_the_manual_has_a_place_for_the_labs_tables() -> None:
    Page(Path(__file__).parents[2] / "docs/performance.md", "lab").check()


def test_the_conditions_are_one_line() -> None:
    plan = Plan(JOBS, 5, 2.0)
    told = str(Conditions("in a guest", plan, 0.25, 3.5, took_s=507.6))
    assert told.startswith("5 rounds of 2 s in a guest, 508 s in all, on a machine with ")
    assert told.endswith("load average 0.2 at the start, 3.5 at the end.")
