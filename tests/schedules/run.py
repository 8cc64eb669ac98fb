"""Many schedules, one after the other, and what to say of those that broke something."""

import gc
import time
from collections.abc import Collection, Iterator

import attrs

from tests.schedules.chronicle import line
from tests.schedules.generator import draw
from tests.schedules.invariants import Violation, check
from tests.schedules.play import play
from tests.schedules.schedule import Schedule
from tests.schedules.shrink import shrink

SCHEDULES_PER_COLLECTION = 500
"""Looking for garbage as often as Python does takes a third of the time; so much of it is some 60 MB."""


@attrs.frozen
class Failure:
    """A schedule that broke invariants, and how."""

    schedule: Schedule
    violations: tuple[Violation, ...]

    def shrunk(self) -> "Failure":
        """As few events as break the first of them."""
        invariant = self.violations[0].invariant
        smaller = shrink(self.schedule, invariant)
        return Failure(smaller, tuple(check(play(smaller).records)))


@attrs.define
class Tally:
    """What ran so far.  ``seconds`` is this process's own time."""

    schedules: int = 0
    records: int = 0
    seconds: float = 0.0
    failures: int = 0

    def __str__(self) -> str:
        rate = self.schedules / self.seconds if self.seconds else 0.0
        return (
            f"{self.schedules} schedules, {self.records} records, {self.seconds:.1f} s, "
            f"{rate:.0f} schedules/s; {self.failures} broke an invariant"
        )


def run(seeds: range, tally: Tally, without: Collection[str] = ()) -> Iterator[Failure]:
    """Play the schedules of these seeds; those that broke something."""
    gc.disable()
    try:
        for seed in seeds:
            began_s = time.process_time()
            schedule = draw(seed, without=without)
            records = play(schedule).records
            violations = check(records)
            if seed % SCHEDULES_PER_COLLECTION == 0:
                gc.collect()
            tally.seconds += time.process_time() - began_s
            tally.schedules += 1
            tally.records += len(records)
            if violations:
                tally.failures += 1
                yield Failure(schedule, tuple(violations))
    finally:
        gc.enable()


def told(failure: Failure, replay: str, *, traced: bool) -> str:
    """A failure for people: how to have it again, what happened, what it broke."""
    lines = [f"seed {failure.schedule.seed}: {replay}", failure.schedule.text]
    if traced:
        lines += map(line, play(failure.schedule).records)
    return "\n".join([*lines, *map(str, failure.violations[:LIMIT]), ""])


LIMIT = 8
"""How many violations of one schedule are told: one mistake often shows in many places."""
