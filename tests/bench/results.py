"""What was measured, and its medians; as JSON for programs, and back."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from tests.bench.jobs import JOBS, Job, Sample


@attrs.define
class Results:
    """Samples by subject's letter and job's name, one for each round.

    A machine that others use is faster at one minute than at the next.  So a ratio is taken between two runs of the
    same job in the same round, and of all rounds' ratios the median.
    """

    names: Mapping[str, str]
    jobs: Sequence[Job]
    all_pairs: Sequence[tuple[str, str]]
    samples: dict[tuple[str, str], list[Sample]] = attrs.Factory(dict)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs both of whom were measured."""
        return [pair for pair in self.all_pairs if set(pair) <= self.names.keys()]

    @property
    def rivals(self) -> dict[str, str]:
        """With whom each is compared first of all."""
        return dict(reversed(self.pairs))

    def add(self, letter: str, job: Job, sample: Sample) -> None:
        self.samples.setdefault((letter, job.name), []).append(sample)

    def of(self, letter: str, job: Job) -> list[Sample]:
        return self.samples.get((letter, job.name), [])

    def median(self, letter: str, job: Job) -> Sample:
        """Of each figure the median of all rounds."""
        rounds = [attrs.astuple(sample) for sample in self.of(letter, job)]
        return Sample(*(statistics.median(column) for column in zip(*rounds, strict=True)))

    def ratio(self, letter: str, other: str, job: Job) -> float:
        """How many times as fast as another."""
        pairs = zip(self.of(letter, job), self.of(other, job), strict=True)
        return statistics.median(mine.iops / its.iops for mine, its in pairs)

    def to_json(self) -> dict[str, Any]:
        """Every sample, the medians, and the ratios."""
        return {
            "subjects": dict(self.names),
            "pairs": [list(pair) for pair in self.all_pairs],
            "jobs": [self._job_json(job) for job in self.jobs],
        }

    def _job_json(self, job: Job) -> dict[str, Any]:
        return {
            "name": job.name,
            "ratios": {f"{a}:{b}": self.ratio(a, b, job) for a, b in self.pairs},
            "subjects": {letter: self._cell_json(letter, job) for letter in self.names},
        }

    def _cell_json(self, letter: str, job: Job) -> dict[str, Any]:
        return {
            "median": attrs.asdict(self.median(letter, job)),
            "samples": [attrs.asdict(sample) for sample in self.of(letter, job)],
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        by_name = {job.name: job for job in JOBS}
        jobs = [by_name[one["name"]] for one in told["jobs"]]
        results = cls(told["subjects"], jobs, [(a, b) for a, b in told["pairs"]])
        for one, job in zip(told["jobs"], jobs, strict=True):
            for letter, cell in one["subjects"].items():
                for sample in cell["samples"]:
                    results.add(letter, job, Sample(**sample))
        return results
