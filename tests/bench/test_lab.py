"""The benchmark in a guest: that every subject is set up and measured, and that what it is told comes back."""

import json
import sys
from functools import partial

import pytest

from tests.bench.guest import GUEST
from tests.bench.jobs import MIB, SIZE_BYTES, jobs_named
from tests.bench.lab import GUEST_MEMORY_BYTES, command
from tests.bench.measure import Plan
from tests.bench.results import Results
from tests.lab.lab import Lab

PLAN = Plan(jobs_named("4k write QD1,1M read"), rounds=1, runtime_s=0.3)


def test_the_guest_is_told_the_plan() -> None:
    program, *words = command(PLAN, "sq")
    assert program == sys.executable
    assert " ".join(words) == (
        "-u -m tests.bench --lab --json --rounds 1 --runtime 0.3 --subjects sq"
        " --jobs 4k write QD1,1M read QD4"
    )


@pytest.mark.fabric(
    kind="loop", hosts=1, luns=5, size_bytes=128 * MIB, memory_bytes=GUEST_MEMORY_BYTES
)
def test_all_subjects_in_a_guest(lab: Lab) -> None:
    assert SIZE_BYTES == 128 * MIB
    done = lab.run(command(PLAN, GUEST.letters), timeout_s=100).check()
    results = Results.from_json(json.loads(done.stdout))
    assert "".join(results.names) == GUEST.letters
    assert results.jobs == PLAN.jobs
    samples = {letter: [*map(partial(results.of, letter), PLAN.jobs)] for letter in results.names}
    assert {len(runs) for of_letter in samples.values() for runs in of_letter} == {1}
    # The others are the kernel's work.
    daemons = [letter for letter, runs in samples.items() if any(run.cpu_us for (run,) in runs)]
    assert daemons == ["s", "t", "q"]
