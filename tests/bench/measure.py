"""Rounds of jobs: in each round every job runs on every subject, one right after the other."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.bench.jobs import Job, Sample, run_fio
from tests.bench.results import Results
from tests.bench.stage import Subject

Say = Callable[[str], None]


@attrs.frozen
class Plan:
    """What is run."""

    jobs: Sequence[Job]
    rounds: int
    runtime_s: float


def measure(
    subjects: Mapping[str, Subject], pairs: Sequence[tuple[str, str]], plan: Plan, say: Say
) -> Results:
    """Run everything; ``say`` hears of each run."""
    names = {letter: one.name for letter, one in subjects.items()}
    results = Results(names, plan.jobs, pairs)
    for number in range(plan.rounds):
        for job in plan.jobs:
            for letter in turn(list(subjects), number):
                subject = subjects[letter]
                sample = _run(subject, job, plan.runtime_s)
                results.add(letter, job, sample)
                say(_line(number, plan, job, letter, subject, sample))
    return results


def turn(letters: Sequence[str], number: int) -> list[str]:
    """The subjects, another one first in each round: who comes first finds other caches."""
    start = number % len(letters)
    return [*letters[start:], *letters[:start]]


def _run(subject: Subject, job: Job, runtime_s: float) -> Sample:
    before_s = subject.cpu_s()
    load = run_fio(job, subject.file, runtime_s)
    return load.sample(subject.cpu_s() - before_s)


def _line(number: int, plan: Plan, job: Job, letter: str, subject: Subject, sample: Sample) -> str:
    speed = f"{sample.mib_per_s:8.0f} MiB/s" if job.is_large else f"{sample.iops:8.0f} IOPS "
    return (
        f"[{number + 1}/{plan.rounds}] {job.name:14} {letter} {subject.name:24} {speed}"
        f" p50 {sample.p50_us:6.0f} us  p99 {sample.p99_us:6.0f} us  CPU {sample.cpu_us:6.1f} us"
    )
