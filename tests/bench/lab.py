"""The same in a lab: boots a guest, has ``python -m tests.bench --lab`` run there, and takes what it measured."""

import json
import os
import sys
from collections.abc import Sequence

from tests.bench.guest import fabric
from tests.bench.measure import Plan
from tests.bench.results import Results
from tests.lab.lab import Lab
from tests.lab.launch import GuestSettings

GUEST_MEMORY_BYTES = 2 << 30
"""Half of it may be LUNs."""
START_LIMIT_S = 120.0
RUN_OVERHEAD_S = 5.0
"""How long a run may take over its time: fio starts slowly there."""


def measure_in_lab(kind: str, plan: Plan, letters: str) -> Results:
    """Measure on a fabric of that kind; the progress goes to stderr."""
    runs = plan.rounds * len(plan.jobs) * len(letters)
    limit_s = START_LIMIT_S + runs * (plan.runtime_s + RUN_OVERHEAD_S)
    with Lab(fabric(kind), GuestSettings(memory_bytes=GUEST_MEMORY_BYTES)) as lab:
        done = lab.run(command(plan, letters), timeout_s=limit_s, sink=_pass_progress_on)
    return Results.from_json(json.loads(done.check().stdout))


def command(plan: Plan, letters: str) -> Sequence[str]:
    """What is run in the guest."""
    jobs = ",".join(job.name for job in plan.jobs)
    return [
        *(sys.executable, "-u", "-m", "tests.bench", "--lab", "--json"),
        *("--rounds", str(plan.rounds), "--runtime", str(plan.runtime_s)),
        *("--subjects", letters, "--jobs", jobs),
    ]


def _pass_progress_on(stream: str, data: bytes) -> None:
    if stream == "err":
        os.write(sys.stderr.fileno(), data)
