"""``scripts/bench``: see --help, and docs/performance.md."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.bench.jobs import JOBS
from tests.bench.measure import Plan, measure, stopwatch
from tests.bench.plot import draw
from tests.bench.report import as_json, markdown
from tests.bench.subjects import SUBJECTS, stage


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    letters = "".join(SUBJECTS)
    parser.add_argument("--quick", action="store_true", help="one round of short runs: a minute")
    parser.add_argument("--rounds", type=int, help="how many; 5 unless --quick")
    parser.add_argument("--runtime", type=float, metavar="S", help="of each run; 2 unless --quick")
    parser.add_argument("--subjects", default=letters, help=f"which of {letters}")
    parser.add_argument("--jobs", default="", help="only those with this in their name")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians, as SVG")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


def main() -> None:
    options = _options()
    plan = Plan(
        jobs=[job for job in JOBS if options.jobs in job.name],
        rounds=options.rounds or (1 if options.quick else 5),
        runtime_s=options.runtime or (0.7 if options.quick else 2.0),
    )
    _say(f"load average at the start: {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs")
    with (
        stopwatch(_say),
        tempfile.TemporaryDirectory(prefix="mpio-bench-", dir=_room()) as directory,
        stage(Path(directory)) as ready,
    ):
        subjects = {one: SUBJECTS[one](ready) for one in SUBJECTS if one in options.subjects}
        results = measure(subjects, plan, _say)
    if options.plot:
        options.plot.write_text(draw(results), encoding="utf-8")
    print(json.dumps(as_json(results), indent=1) if options.json else markdown(results))  # noqa: T201


def _room() -> str | None:
    """In memory, where that can be had: no disk of this machine is to be measured."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


if __name__ == "__main__":
    main()
