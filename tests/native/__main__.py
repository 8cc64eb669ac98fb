"""``python -m tests.native``: what programs notice of links and targets that fail, in namespaces of their own."""

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.native import namespaces
from tests.native.cases import CASES, Case
from tests.native.run import Outcome, run_case

EXIT_MISSING = 3
SOON = "[underpaths]\nhold_down = 0.5\ncheck_min = 0.2\ncheck_max = 1"
"""An underpath that is back carries again soon: tests wait for that."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.native", description=__doc__)
    parser.add_argument(
        "--cases", default="all", metavar="NAMES", help="separated by commas; 'all', 'quick'"
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="run each so often")
    parser.add_argument(
        "--any-time",
        action="store_true",
        help="for a busy machine: judge no times; underpaths are used again as soon as they are back",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--list", action="store_true", help="tell what there is, and run nothing")
    return parser


def chosen(words: str) -> list[Case]:
    """The cases asked for; ValueError: there is none of a name."""
    if words in {"all", "quick"}:
        return [case for case in CASES if case.is_quick or words == "all"]
    by_name = {case.name: case for case in CASES}
    unknown = [name for name in words.split(",") if name not in by_name]
    if unknown:
        raise ValueError(f"no case {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in words.split(",")]


def attempt(case: Case, *, with_times: bool) -> tuple[Outcome | None, list[str]]:
    """Run one; what came of it, and what is wrong with that."""
    with tempfile.TemporaryDirectory(prefix="native-", ignore_cleanup_errors=True) as directory:
        try:
            outcome = run_case(case, Path(directory) / case.name)
        except Exception:  # noqa: BLE001 (the other cases are run all the same)
            return None, [traceback.format_exc()]
    say(outcome.line())
    return outcome, outcome.complaints(case, with_times=with_times)


def run_all(cases: Sequence[Case], *, with_times: bool) -> tuple[list[Outcome], int]:
    """Run the cases; their outcomes, and how many were not as they must be."""
    outcomes, failed = [], 0
    for case in cases:
        outcome, complaints = attempt(case, with_times=with_times)
        if outcome is not None:
            outcomes.append(outcome)
        if complaints:
            failed += 1
            said = outcome.said if outcome is not None else []
            say(f"{case.name}: FAILED: " + "\n  ".join([*complaints, *said]))
    return outcomes, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    options = parser.parse_args(words)
    try:
        cases = chosen(options.cases) * options.times
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        say("\n".join(f"{case.name:18} {case.what}" for case in cases))
        return 0
    if not namespaces.is_inside():
        if missing := namespaces.missing():
            say("native links need what is not here:\n  " + "\n  ".join(missing))
            return EXIT_MISSING
        return namespaces.go_inside(*words)
    namespaces.settle()
    if options.any_time:
        cases = [attrs.evolve(case, settings=case.settings or SOON) for case in cases]
    outcomes, failed = run_all(cases, with_times=not options.any_time)
    if options.json is not None:
        options.json.write_text(json.dumps([attrs.asdict(one) for one in outcomes], indent=2))
    say(f"{len(cases) - failed} of {len(cases)} cases as they must be")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
