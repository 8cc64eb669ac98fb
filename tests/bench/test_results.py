"""Medians of rounds, ratios within a round, and JSON that carries all of it from a guest to who asked."""

import json

import pytest

from tests.bench.jobs import JOBS, Sample
from tests.bench.results import Results

JOB = JOBS[0]


def sample(iops: float, p99_us: float = 9.0, cpu_us: float = 4.0) -> Sample:
    return Sample(iops, iops / 256, 5.0, p99_us, cpu_us)


def results(**iops: list[float]) -> Results:
    """Of one job; subjects by letter, each with a figure a round."""
    names = {letter: f"the {letter}" for letter in iops}
    made = Results(names, [JOB], [("s", "q"), ("s", "k"), ("q", "k")])
    for letter, rounds in iops.items():
        for one in rounds:
            made.add(letter, JOB, sample(one))
    return made


def test_a_ratio_is_taken_within_a_round() -> None:
    """The machine was ten times as fast in the second round: the ratio of medians would be 10, or 0.1."""
    assert results(s=[100, 2000, 100], q=[200, 4000, 200]).ratio("s", "q", JOB) == 0.5


def test_each_figure_has_a_median_of_its_own() -> None:
    made = results(s=[])
    for iops, p99_us in ((1, 30), (3, 10), (2, 20)):
        made.add("s", JOB, sample(iops, p99_us))
    assert made.median("s", JOB) == sample(2, 20)


def test_rounds_that_do_not_match_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        results(s=[1, 2], q=[1]).ratio("s", "q", JOB)


def test_only_pairs_both_of_whom_were_measured() -> None:
    assert results(s=[1], k=[1]).pairs == [("s", "k")]


def test_the_first_pair_is_the_rival() -> None:
    assert results(s=[1], q=[1], k=[1]).rivals == {"s": "q", "q": "k"}


def test_json_there_and_back() -> None:
    made = results(s=[1, 2, 3], q=[4, 5, 6])
    assert Results.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_json_has_medians_and_ratios_for_programs() -> None:
    (job,) = results(s=[1, 2, 3], q=[4, 4, 4]).to_json()["jobs"]
    assert (job["name"], job["ratios"]) == (JOB.name, {"s:q": 0.5})
    assert job["subjects"]["s"]["median"]["iops"] == 2
