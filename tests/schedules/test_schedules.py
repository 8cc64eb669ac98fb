"""Ten thousand random schedules keep every invariant; with a precaution switched off, some do not."""

import subprocess
import sys

import pytest

from tests.schedules.mutations import MUTATIONS
from tests.schedules.play import be_quiet
from tests.schedules.run import Failure, Tally, run

SCHEDULES = 10_000
PARTS = 4
KNOWN: tuple[str, ...] = ()
"""Troubles that the device is known not to survive, left out until it does."""

CAUGHT_BY = {
    "barrier": (262, 439, 506),
    "recheck-before-register": (1, 8, 17),
    "sticky-fence": (12, 24, 83),
    "holder-transfer": (40, 46, 58),
}
"""Seeds that are known to catch each; when none of them does any more, all up to `SEARCHED` are tried."""

SEARCHED = 1000


@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_keep_every_invariant(part: int) -> None:
    """In a process of its own: as users play them, and with nobody's log to fill."""
    count = SCHEDULES // PARTS
    command = [
        sys.executable,
        "-m",
        "tests.schedules",
        f"--count={count}",
        f"--seed={part * count + 1}",
    ]
    command += [f"--without={name}" for name in KNOWN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_what_is_switched_off_is_found_out(name: str) -> None:
    be_quiet()
    failure = _caught(name)
    assert failure is not None, f"without {name} the first {SEARCHED} seeds keep every invariant"
    seed = failure.schedule.seed
    assert not list(run(range(seed, seed + 1), Tally(), KNOWN)), "and not for another reason"


def _caught(name: str) -> Failure | None:
    mutation = MUTATIONS[name]
    seeds = [range(seed, seed + 1) for seed in CAUGHT_BY[name]]
    with mutation.applied():
        for some in [*seeds, range(1, SEARCHED + 1)]:
            for failure in run(some, Tally(), KNOWN):
                if mutation.breaks & {one.invariant for one in failure.violations}:
                    return failure
    return None


def test_a_failure_is_told_with_the_command_that_has_it_again() -> None:
    seed = CAUGHT_BY["sticky-fence"][0]
    command = [sys.executable, "-m", "tests.schedules", "--switch-off=sticky-fence", "--shrink"]
    command += ["--count=1", f"--seed={seed}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"--count 1 --seed {seed} --switch-off sticky-fence" in done.stdout
    assert "Open host=" in done.stdout
    assert "invariant " in done.stdout
