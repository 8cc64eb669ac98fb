"""The medians as a picture: for each job a group of bars, drawn as SVG by hand, which needs nothing."""

from collections.abc import Iterator, Sequence

import attrs

from tests.bench.jobs import Job
from tests.bench.results import Results

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 340, 46, 46, 60
COLOURS = {
    "a": "#1f5fa8",
    "b": "#6fa3d8",
    "c": "#c8792b",
    "d": "#2b7a4b",
    "e": "#d9a066",
    "f": "#999999",
    # In the lab: ours as above, qemu as above, and the kernel's.
    "s": "#1f5fa8",
    "t": "#6fa3d8",
    "q": "#c8792b",
    "m": "#2b7a4b",
    "k": "#999999",
}
_TEXT = 'font-family="sans-serif" font-size="11" fill="#222"'


@attrs.frozen
class _Bar:
    letter: str
    height: float


def draw(results: Results) -> str:
    """Each bar is how many times as fast as the first of those it is compared with."""
    groups = [(job, list(_bars(results, job))) for job in results.jobs]
    top = max([bar.height for _, bars in groups for bar in bars], default=1.0) * 1.1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axis(top),
        *_legend(results),
        *_groups(groups, top),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bars(results: Results, job: Job) -> Iterator[_Bar]:
    rivals = results.rivals
    for letter in results.names:
        if letter in rivals:
            yield _Bar(letter, results.ratio(letter, rivals[letter], job))


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _axis(top: float) -> Iterator[str]:
    step = 0.5 if top <= 4 else 1.0
    for count in range(int(top / step) + 1):
        y = _y(count * step, top)
        is_one = count * step == 1
        colour, width = ("#222", 1.5) if is_one else ("#ddd", 1)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - 10}" stroke="{colour}" stroke-width="{width}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" {_TEXT}>{count * step:g}</text>'


def _legend(results: Results) -> Iterator[str]:
    rivals = results.rivals
    for place, letter in enumerate(one for one in results.names if one in rivals):
        x = LEFT + place * 210
        words = f"{results.names[letter]} : {results.names[rivals[letter]]}"
        yield f'<rect x="{x}" y="14" width="10" height="10" fill="{COLOURS[letter]}"/>'
        yield f'<text x="{x + 14}" y="23" {_TEXT}>{words}</text>'


def _groups(groups: Sequence[tuple[Job, Sequence[_Bar]]], top: float) -> Iterator[str]:
    room = (WIDTH - LEFT - 10) / max(len(groups), 1)
    for place, (job, bars) in enumerate(groups):
        x = LEFT + place * room
        width = room * 0.8 / max(len(bars), 1)
        for at, bar in enumerate(bars):
            yield from _bar(bar, x + room * 0.1 + at * width, width, top)
        middle = x + room / 2
        yield f'<text x="{middle:.1f}" y="{HEIGHT - 36}" text-anchor="middle" {_TEXT}>{job.name}</text>'


def _bar(bar: _Bar, x: float, width: float, top: float) -> Iterator[str]:
    y, colour = _y(bar.height, top), COLOURS[bar.letter]
    height = HEIGHT - BOTTOM - y
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{width * 0.9:.1f}" height="{height:.1f}" fill="{colour}"/>'
    yield f'<text x="{x + width * 0.45:.1f}" y="{y - 3:.1f}" text-anchor="middle" {_TEXT}>{bar.height:.2f}</text>'
