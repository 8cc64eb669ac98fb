"""What was measured, as tables, for people and in Markdown for the manual."""

from collections.abc import Callable, Sequence

from tests.bench.jobs import Job, Sample
from tests.bench.results import Results


def markdown(results: Results) -> str:
    """Four tables: how fast, how many times as fast as the rivals, how much CPU, how long each took."""
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
    return f"{sample.cpu_us:.1f}" if sample.cpu_us else "-"


def _latency(_job: Job, sample: Sample) -> str:
    return f"{sample.p50_us:.0f} / {sample.p99_us:.0f}"


def _ratios(results: Results) -> str:
    rows = [
        [job.name, *(f"{results.ratio(one, other, job):.2f}" for one, other in results.pairs)]
        for job in results.jobs
    ]
    head = ["times as fast", *(f"{one} : {other}" for one, other in results.pairs)]
    return _grid(head, rows) if results.pairs else ""


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [_row(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_row(row, widths) for row in rows)])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    texts = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
    return f"| {' | '.join(texts)} |"
