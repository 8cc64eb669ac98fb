"""``scripts/bench``: see --help, and docs/performance.md."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.ground import Ground
from tests.bench.guest import GUEST, REPORT
from tests.bench.jobs import jobs_named
from tests.bench.lab import measure_in_lab
from tests.bench.measure import Plan, measure
from tests.bench.native import NATIVE
from tests.bench.page import Conditions, Page
from tests.bench.plot import draw
from tests.bench.report import markdown
from tests.bench.results import Results
from tests.lab.errors import LabError

FABRICS = ("loop", "iscsi")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    add = parser.add_argument
    letters = f"{NATIVE.letters}; in the lab {GUEST.letters}"
    add("--quick", action="store_true", help="one round of short runs: a minute")
    add("--lab", nargs="?", const=FABRICS[0], choices=FABRICS, metavar="FABRIC",
        help=f"over /dev/sg in a lab's guest, on {' or '.join(FABRICS)}; {FABRICS[0]} unless named")  # fmt: skip
    add("--rounds", type=int, help="how many; 5 unless --quick")
    add("--runtime", type=float, metavar="S", help="of each run; 2 unless --quick")
    add("--subjects", metavar="LETTERS", help=f"which of {letters}")
    add("--jobs", default="", help="only those with this, or this,or,that, in their names")
    add("--json", action="store_true", help="JSON on stdout instead of tables")
    add("--plot", type=Path, metavar="FILE", help="draw the medians, as SVG")
    add("--page", type=Path, metavar="FILE", help="replace the tables in it, between its marks")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    page = options.page and Page(options.page, "lab" if options.lab else "native")
    try:
        plan, letters = _plan(options), _letters(options)
        if page:
            page.check()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    where = f"in a lab's guest with one CPU, over {options.lab}" if options.lab else "natively"
    conditions = Conditions(where, plan)
    try:
        with conditions.watched():
            results = _measure(options.lab, plan, letters)
    except LabError as error:
        sys.exit(f"scripts/bench: {error}")
    if REPORT not in os.environ:  # a guest says nothing of the machine
        _say(str(conditions))
    if options.plot:
        options.plot.write_text(draw(results), encoding="utf-8")
    if page:
        page.write(f"{conditions}\n\n{markdown(results)}")
    print(json.dumps(results.to_json(), indent=1) if options.json else markdown(results))  # noqa: T201


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        jobs=jobs_named(options.jobs),
        rounds=options.rounds or (1 if options.quick else 5),
        runtime_s=options.runtime or (0.7 if options.quick else 2.0),
    )


def _letters(options: argparse.Namespace) -> str:
    known = _ground(options.lab).letters
    letters: str = options.subjects or known
    if unknown := set(letters) - set(known):
        raise ValueError(f"no subject {', '.join(sorted(unknown))}; there are {known}")
    return letters


def _ground(lab: str | None) -> Ground[Any]:
    return GUEST if lab else NATIVE


def _measure(lab: str | None, plan: Plan, letters: str) -> Results:
    """Here, or in a guest that is not yet there."""
    if lab and REPORT not in os.environ:
        return measure_in_lab(lab, plan, letters)
    ground = _ground(lab)
    with (
        tempfile.TemporaryDirectory(prefix="mpio-bench-", dir=_room()) as directory,
        ground.ready(Path(directory), letters) as subjects,
    ):
        return measure(subjects, ground.pairs, plan, _say)


def _room() -> str | None:
    """In memory, where that can be had: no disk of this machine is to be measured."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


if __name__ == "__main__":
    main()
