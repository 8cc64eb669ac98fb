"""docs/hazards.md tells the truth: each hazard has a test that names it, and each test it names is there."""

import json
import re
import sys
from itertools import count
from pathlib import Path

import attrs
import pytest
import trio

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/hazards.md"

HEADING = re.compile(r"^### (\d+)\. ", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)+)`")
OPEN = "*Not guarded yet"


@attrs.frozen
class Hazard:
    """One hazard of the page, with the tests named there."""

    number: int
    tests: tuple[str, ...]
    is_open: bool


def hazards_of(page: str) -> list[Hazard]:
    """What the page says, in its order."""
    _, *parts = HEADING.split(page)
    texts = zip(parts[::2], parts[1::2], strict=True)
    return [Hazard(int(number), tuple(NAMED.findall(text)), OPEN in text) for number, text in texts]


def complaints(hazards: list[Hazard], marked: dict[str, list[int]]) -> list[str]:
    """What is not so; ``marked`` has the numbers of every test there is."""
    guarded = {number for numbers in marked.values() for number in numbers}
    known = {one.number for one in hazards}
    found = [f"hazard {one} is out of order" for one in _misplaced(hazards)]
    for test, numbers in marked.items():
        found += [
            f"{test} names hazard {one}, which there is not" for one in numbers if one not in known
        ]
    for hazard in hazards:
        found += [f"hazard {hazard.number}: {one}" for one in _complaints(hazard, guarded, marked)]
    return found


def _misplaced(hazards: list[Hazard]) -> list[int]:
    return [
        one.number for one, wanted in zip(hazards, count(1), strict=False) if one.number != wanted
    ]


def _complaints(hazard: Hazard, guarded: set[int], marked: dict[str, list[int]]) -> list[str]:
    is_guarded = hazard.number in guarded
    found = []
    if hazard.is_open and is_guarded:
        found.append("is not guarded yet, says the page, and a test names it")
    if not hazard.is_open and not is_guarded:
        found.append("no test names it")
    if not hazard.is_open and not hazard.tests:
        found.append("the page names no test")
    for test in hazard.tests:
        if test not in marked:
            found.append(f"there is no {test}")
        elif hazard.number not in marked[test]:
            found.append(f"{test} does not name it")
    return found


async def test_every_hazard_is_guarded_and_every_guard_is_there(tmp_path: Path) -> None:
    """Collected by a pytest of its own: what this one was asked to run may be less than there is."""
    file = tmp_path / "marked.json"
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", f"--hazards-to={file}", "tests"]
    done = await trio.run_process(
        [sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_stdout=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    marked = json.loads(file.read_text(encoding="utf-8"))
    assert complaints(hazards_of(PAGE.read_text(encoding="utf-8")), marked) == []


EXAMPLE = """# Hazards

### 1. One

`mpio_fuse/device/gate.py`; guarded by `tests/test_x.py::test_one` and
`tests/test_x.py::TestX::test_two`.

### 2. Two

*Not guarded yet*: nobody has.
"""
FITS = {"tests/test_x.py::test_one": [1], "tests/test_x.py::TestX::test_two": [1], "y": []}


def test_a_page_is_read() -> None:
    tests = ("tests/test_x.py::test_one", "tests/test_x.py::TestX::test_two")
    assert hazards_of(EXAMPLE) == [
        Hazard(1, tests, is_open=False),
        Hazard(2, (), is_open=True),
    ]
    assert complaints(hazards_of(EXAMPLE), FITS) == []


@pytest.mark.parametrize(
    ("page", "marked", "complaint"),
    [
        (EXAMPLE, {"y": [1], **FITS, "tests/test_x.py::test_one": []}, "test_one does not name it"),
        (
            EXAMPLE,
            {"tests/test_x.py::test_one": [1]},
            "hazard 1: there is no tests/test_x.py::Test",
        ),
        (EXAMPLE, {**FITS, "y": [3]}, "y names hazard 3, which there is not"),
        (EXAMPLE, {**FITS, "y": [2]}, "hazard 2: is not guarded yet, says the page, and"),
        (EXAMPLE.replace("*Not guarded yet*", "Well"), FITS, "hazard 2: no test names it"),
        (EXAMPLE.replace("*Not guarded yet*", "Well"), FITS, "hazard 2: the page names no test"),
        (EXAMPLE.replace("### 2.", "### 3."), FITS, "hazard 3 is out of order"),
    ],
)
def test_what_does_not_fit_is_told(page: str, marked: dict[str, list[int]], complaint: str) -> None:
    assert any(complaint in one for one in complaints(hazards_of(page), marked))


def test_marks_of_classes_and_modules_count_and_parameters_do_not(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nmarkers = hazard(number): x")
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.hazard(1)
        @pytest.mark.hazard(2, 3)
        class TestIt:
            @pytest.mark.parametrize("x", [1, 2])
            def test_in(self, x): pass
        def test_out(): pass
        """
    )
    file = pytester.path / "marked.json"
    options = ["--collect-only", "-p", "tests.rules.hazards", f"--hazards-to={file}"]
    assert pytester.runpytest_inprocess(*options).ret == pytest.ExitCode.OK
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "test_it.py::TestIt::test_in": [1, 2, 3],
        "test_it.py::test_out": [1],
    }


@pytest.mark.parametrize("arguments", ["", '"4"'])
def test_a_mark_without_numbers_is_an_error(pytester: pytest.Pytester, arguments: str) -> None:
    pytester.makeini("[pytest]\nmarkers = hazard(number): x")
    pytester.makepyfile(f"import pytest\n@pytest.mark.hazard({arguments})\ndef test_it(): pass\n")
    result = pytester.runpytest_inprocess("-p", "tests.rules.hazards")
    assert result.ret != pytest.ExitCode.OK
    result.stderr.fnmatch_lines(["*hazard wants the numbers of docs/hazards.md"])
