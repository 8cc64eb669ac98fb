"""What was measured, as a table for people, in Markdown for the manual, and as JSON for programs."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from tests.bench.jobs import Job, Sample
from tests.bench.measure import Results
from tests.bench.subjects import RIVALS


def as_json(results: Results) -> dict[str, Any]:
    """Every sample, the medians, and the ratios."""
    return {
        "subjects": dict(results.names),
        "jobs": [
            {
                "name": job.name,
                "subjects": {letter: _json_cell(results, letter, job) for letter in results.names},
            }
            for job in results.jobs
        ],
    }


def _json_cell(results: Results, letter: str, job: Job) -> dict[str, Any]:
    return {
        "median": attrs.asdict(results.median(letter, job)),
        "ratio": results.rivalry(letter, job),
        "samples": [attrs.asdict(sample) for sample in results.of(letter, job)],
    }


def markdown(results: Results) -> str:
    """Three tables: how fast, how many times as fast as the rival, how much CPU."""
    blocks = [
        _table(results, "IOPS (1M: MiB/s)", _speed, list(results.names)),
        _table(results, "CPU per I/O, us", _cpu, list(results.names)),
        _table(results, "p50 / p99, us", _latency, list(results.names)),
    ]
    ratios = _ratios(results)
    return "\n\n".join([blocks[0], *([ratios] if ratios else []), *blocks[1:]])


def _table(
    results: Results, title: str, cell: Callable[[Job, Sample], str], letters: Sequence[str]
) -> str:
    rows = [
        [job.name, *(cell(job, results.median(letter, job)) for letter in letters)]
        for job in results.jobs
    ]
    return _grid([title, *(f"{one}: {results.names[one]}" for one in letters)], rows)


def _speed(job: Job, sample: Sample) -> str:
    return f"{sample.mib_per_s if job.is_large else sample.iops:,.0f}"


def _cpu(_job: Job, sample: Sample) -> str:
    return f"{sample.cpu_us:.1f}"


def _latency(_job: Job, sample: Sample) -> str:
    return f"{sample.p50_us:.0f} / {sample.p99_us:.0f}"


def _ratios(results: Results) -> str:
    pairs = [(one, RIVALS[one]) for one in results.names if RIVALS.get(one) in results.names]
    if {"a", "b"} <= results.names.keys():
        pairs.append(("b", "a"))
    rows = [
        [job.name, *(f"{results.ratio(one, other, job):.2f}" for one, other in pairs)]
        for job in results.jobs
    ]
    return _grid(["times as fast", *(f"{a} : {b}" for a, b in pairs)], rows) if pairs else ""


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [_row(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_row(row, widths) for row in rows)])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    texts = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
    return f"| {' | '.join(texts)} |"
