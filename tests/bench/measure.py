"""Rounds of jobs: in each round every job runs on every subject, one right after the other.

A machine that others use is faster at one minute than at the next.  So a ratio is taken between two runs of the same
job in the same round, and of all rounds' ratios the median.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs

from tests.bench.jobs import Job, Sample, run_fio
from tests.bench.serve_instant import SIZE_BYTES
from tests.bench.subjects import RIVALS, Subject

Say = Callable[[str], None]


@attrs.define
class Results:
    """Samples by subject's letter and job's name, one for each round."""

    names: Mapping[str, str]
    jobs: Sequence[Job]
    samples: dict[tuple[str, str], list[Sample]] = attrs.Factory(dict)

    def add(self, letter: str, job: Job, sample: Sample) -> None:
        self.samples.setdefault((letter, job.name), []).append(sample)

    def of(self, letter: str, job: Job) -> list[Sample]:
        return self.samples.get((letter, job.name), [])

    def median(self, letter: str, job: Job) -> Sample:
        """Of each figure the median of all rounds."""
        rounds = [attrs.astuple(sample) for sample in self.of(letter, job)]
        return Sample(*(statistics.median(column) for column in zip(*rounds, strict=True)))

    def ratio(self, letter: str, other: str, job: Job) -> float | None:
        """How many times as fast as another; None where one of them was not measured."""
        mine, theirs = self.of(letter, job), self.of(other, job)
        if not mine or not theirs:
            return None
        pairs = zip(mine, theirs, strict=True)
        return statistics.median(one.iops / other.iops for one, other in pairs)

    def rivalry(self, letter: str, job: Job) -> float | None:
        """The ratio to whom it is compared with."""
        return self.ratio(letter, RIVALS[letter], job) if letter in RIVALS else None


@attrs.frozen
class Plan:
    """What is run."""

    jobs: Sequence[Job]
    rounds: int
    runtime_s: float


def measure(subjects: Mapping[str, Subject], plan: Plan, say: Say) -> Results:
    """Run everything; ``say`` hears of each run."""
    results = Results({letter: one.name for letter, one in subjects.items()}, plan.jobs)
    for number in range(plan.rounds):
        for job in plan.jobs:
            for letter, subject in _turn(subjects, number):
                sample = _run(subject, job, plan.runtime_s)
                results.add(letter, job, sample)
                say(_line(number, plan, job, letter, subject, sample))
    return results


def _turn(subjects: Mapping[str, Subject], number: int) -> list[tuple[str, Subject]]:
    """The subjects, another one first in each round: who comes first finds other caches."""
    pairs = list(subjects.items())
    start = number % len(pairs)
    return pairs[start:] + pairs[:start]


def _run(subject: Subject, job: Job, runtime_s: float) -> Sample:
    before_s = subject.cpu_s()
    load = run_fio(job, subject.file, SIZE_BYTES, runtime_s)
    return load.sample(subject.cpu_s() - before_s)


def _line(number: int, plan: Plan, job: Job, letter: str, subject: Subject, sample: Sample) -> str:
    speed = f"{sample.mib_per_s:8.0f} MiB/s" if job.is_large else f"{sample.iops:8.0f} IOPS "
    return (
        f"[{number + 1}/{plan.rounds}] {job.name:14} {letter} {subject.name:24} {speed}"
        f" p50 {sample.p50_us:6.0f} us  p99 {sample.p99_us:6.0f} us  CPU {sample.cpu_us:6.1f} us"
    )


@contextmanager
def stopwatch(say: Say) -> Iterator[None]:
    """Say how long it all took."""
    begin_s = time.monotonic()
    yield
    say(f"took {time.monotonic() - begin_s:.0f} s")
