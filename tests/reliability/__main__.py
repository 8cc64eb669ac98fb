"""``python -m tests.reliability``: run cases in a lab's guest, and tell what came of each."""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

import attrs

from tests.lab.errors import MissingPrerequisiteError
from tests.lab.fabric import FabricReport
from tests.lab.prerequisites import require
from tests.reliability.cases import CASES, Case
from tests.reliability.outcome import Outcome
from tests.reliability.run import run_case
from tests.reliability.systems import UDEVD, SystemName

EXAMPLE = "scripts/lab run --hosts 1 --timeout 1800 -- python -m tests.reliability --cases all"

PROGRAMS = ("fio", "tc", "dmsetup", "sg_reset")
PROGRAMS_OF_DM_MULTIPATH = ("multipathd", "udevadm", UDEVD)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.reliability", description=__doc__, epilog=EXAMPLE
    )
    parser.add_argument(
        "--cases", default="all", metavar="NAMES",
        help="separated by commas; 'all': those of this lab's fabric (default)",
    )  # fmt: skip
    parser.add_argument("--system", choices=list(SystemName), default=SystemName.MPIO_FUSE)
    parser.add_argument("--times", type=int, default=1, metavar="N", help="run each so often")
    parser.add_argument("--quick", action="store_true", help="2 s of each fault: no figures")
    parser.add_argument(
        "--json", metavar="FILE",
        help="write all that was measured; '-': to standard output, and the rest to standard error",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="tell what there is, and run nothing")
    return parser


def chosen(words: str, report: FabricReport) -> list[Case]:
    """The cases asked for, those of the lab's fabric; ValueError: there is none of a name."""
    possible = {case.name: case for case in CASES if case.kind is report.fabric.kind}
    if words == "all":
        return list(possible.values())
    unknown = [name for name in words.split(",") if name not in possible]
    if unknown:
        kind = report.fabric.kind.value
        raise ValueError(f"no case {', '.join(unknown)} on {kind}; there are {', '.join(possible)}")
    return [possible[name] for name in words.split(",")]


def run_all(
    cases: list[Case], system: SystemName, report: FabricReport
) -> tuple[list[Outcome], bool]:
    """Run the cases, one line for each; their outcomes, and whether all were as they must be."""
    outcomes, is_well = [], True
    for case in cases:
        if system in case.cannot_run_on:
            say(f"{case.name:24} {system:13} cannot be run on it")
            continue
        try:
            outcome = run_case(case, system, report)
        except Exception:  # noqa: BLE001 - the other cases are to be run all the same
            say(f"{case.name:24} {system:13} could not be run\n{traceback.format_exc()}")
            is_well = False
            continue
        outcomes.append(outcome)
        say(outcome.line())
        complaints = outcome.complaints(case.may_see, case.bad_reader_sees)
        for complaint in complaints:
            say(f"    {complaint}")
        # What another system does is something to know, not a failure.
        is_well = is_well and (not complaints or system is not SystemName.MPIO_FUSE)
    return outcomes, is_well


def _write(outcomes: list[Outcome], file: str | None) -> None:
    text = json.dumps([attrs.asdict(one) for one in outcomes], indent=1)
    if file == "-":
        sys.stdout.write(f"{text}\n")
    elif file is not None:
        Path(file).write_text(text)


def main() -> int:
    parser = make_parser()
    options = parser.parse_args()
    if options.list:
        for case in CASES:
            say(f"{case.name:24} {case.kind.value:11} {case.what}")
        return 0
    report = FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())
    if report.fabric.hosts != 1:
        parser.error("two hosts' nodes are one disk to this kernel: use scripts/lab run --hosts 1")
    system = SystemName(options.system)
    try:
        cases = chosen(options.cases, report)
        require(
            [*PROGRAMS, *(PROGRAMS_OF_DM_MULTIPATH if system is SystemName.DM_MULTIPATH else ())]
        )
    except (ValueError, MissingPrerequisiteError) as error:
        parser.error(str(error))
    if options.quick:
        cases = [case.shortened() for case in cases]
    outcomes, is_well = run_all(cases * options.times, system, report)
    _write(outcomes, options.json)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
