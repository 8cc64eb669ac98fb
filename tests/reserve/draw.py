"""Draws docs/figures.md from the procedures themselves: ``scripts/draw-figures``, or with ``--check`` only compares.

What is drawn are the edges that a walk over every outcome takes, the same that the tests compare with the patent's
figures.  The numbers of boxes that send nothing (decisions, assignments) come from the comments on the lines that do
their work, which is where this project writes them.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from itertools import groupby, product
from pathlib import Path
from types import ModuleType

import attrs

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve import fig07_decision
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from mpio_fuse.reserve.procedure import Box, End
from mpio_fuse.reserve.walk import Edge, boxes, walk
from tests.reserve.charts import CHARTS, Chart

FILE = Path(__file__).parents[2] / "docs" / "figures.md"

HEAD = """\
# Figures

The procedures of `mpio_fuse/reserve/`, drawn by `scripts/draw-figures` from the code. A test fails when this page
is not what the code does; do not edit it by hand.

- A box sends commands, or opens and closes underpaths; its number is the printed figure's. Numbers in parentheses
  are printed boxes that decide or assign right there.
- An arrow is an outcome; the numbers on it are the printed boxes that decide or assign on that way.
- A rounded box is an end: what the caller gets.
- A dotted arrow is a **deviation**: an edge that the printed figure does not have.
  [design.md](design.md#where-the-patent-is-silent-or-wrong) has the reasons.

What it takes to carry a box out (retries, unit attentions, lost answers, a holder that is dead) is no part of a figure
but of `mpio_fuse/device`.
"""


@attrs.frozen
class Numbers:
    """The printed boxes that do nothing but decide or assign, by where in the chart they come."""

    at_box: dict[str, str]
    on_edge: dict[tuple[str, str], str]
    at_end: dict[str, str]

    def along(self, edge: Edge) -> str:
        return self.on_edge.get(edge[:2], "")


def numbers(module: ModuleType) -> Numbers:
    """Read a figure's comments: those on the lines of its boxes, its cases, and its returns."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    found = Numbers({}, {}, {})
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Yield(value=ast.Call(args=[ast.Constant(value=str(label)), *_])):
                found.at_box[label] = _printed_on(lines[node.lineno - 1])
            case ast.FunctionDef(body=[*_, ast.Return() as last]):
                end = ast.unparse(last).removeprefix("return End.")
                found.at_end[end] = _printed_on(lines[last.lineno - 1])
            case ast.Match(
                subject=ast.Yield(value=ast.Call(args=[ast.Constant(value=str(label)), *_]))
            ):
                for case in node.cases:
                    outcome = ast.unparse(case.pattern).removeprefix("Outcome.")
                    ends = [one for one in case.body if isinstance(one, ast.Return)]
                    on = [case.pattern.lineno, *(one.lineno for one in ends)]
                    texts = [_printed_on(lines[line - 1]) for line in on]
                    found.on_edge[label, outcome] = ", ".join(filter(None, texts))
    return found


def _printed_on(line: str) -> str:
    """The box numbers in a line's comment."""
    return ", ".join(re.findall(r"\b\d{3,4}\b", line.partition("  # ")[2]))


def page() -> str:
    """The whole of docs/figures.md."""
    parts = [(fig07_decision, _decision())]
    for module, group in groupby(CHARTS, lambda chart: chart.module):
        parts.append((module, _figure(module, list(group))))
    ordered = sorted(parts, key=lambda part: part[0].__name__)
    return "\n".join([HEAD, *(text for _, text in ordered)])


def _heading(module: ModuleType) -> str:
    """The figure's title, and what else its module says of it."""
    title, _, text = inspect.getdoc(module).partition("\n")  # type: ignore[union-attr] # each has one
    figure, _, rest = title.partition(":")
    name, _, more = rest.strip().partition(". ")
    source = module.__name__.replace(".", "/") + ".py"
    prose = " ".join(f"{more.strip()} {text.strip()}".split())
    return f"## {figure}: {name.rstrip('.')}\n\n`{source}`" + (f". {prose}\n" if prose else "\n")


def _figure(module: ModuleType, charts: list[Chart]) -> str:
    """One figure, with a diagram for each set of its cases that run alike."""
    parts = [_heading(module)]
    for edges, alike in groupby(charts, lambda chart: walk(chart.procedure)):
        same = list(alike)
        if when := ", or ".join(chart.when for chart in same if chart.when):
            parts.append(f"When {when}:\n")
        parts.append(_diagram(same[0], edges))
    parts += [f"- Deviation at {text}.\n" for text in _reasons(charts)]
    return "\n".join(parts)


def _reasons(charts: list[Chart]) -> list[str]:
    """Why, for each deviating outcome of a figure."""
    found = dict.fromkeys(
        f"{box.label}, *{outcome.value}*: {why}"
        for chart in charts
        for box in boxes(chart.procedure).values()
        for outcome, why in box.deviations.items()
    )
    return list(found)


def _diagram(chart: Chart, edges: list[Edge]) -> str:
    found, numbered = boxes(chart.procedure), numbers(chart.module)
    regular = set(walk(chart.procedure, deviating=False))
    lines = [_box(box, numbered) for box in found.values()]
    ends = dict.fromkeys(End(to) for _, _, to in edges if to not in found)
    lines += [_end(end, numbered) for end in ends]
    lines += [_arrow(edge, edge in regular, found, numbered) for edge in edges]
    return _mermaid(lines)


def _box(box: Box, numbered: Numbers) -> str:
    also = numbered.at_box.get(box.label, "")
    number = f"{box.label} ({also})" if also else box.label
    if not box.label[0].isdigit():
        number = also  # a box that is only told of in words
    return f'{_node(box.label)}["{number}<br>{box.act.value}"]'


def _arrow(edge: Edge, is_regular: bool, found: dict[str, Box], numbered: Numbers) -> str:  # noqa: FBT001
    start, outcome, to = edge
    then = _node(to) if to in found else _end_node(End(to))
    member = next(one.name for one in found[start].outcomes if one.value == outcome)
    along = numbered.along((start, member, to))
    text = f"{outcome}<br>{along}" if along else outcome
    arrow = "-->" if is_regular else "-.->"
    return f'{_node(start)} {arrow}|"{text}"| {then}'


def _node(label: str) -> str:
    return "box_" + re.sub(r"\W", "_", label)


def _end(end: End, numbered: Numbers) -> str:
    also = numbered.at_end.get(end.name, "")
    return f'{_end_node(end)}(["{end.value} ({also})"])'.replace(" ()", "")


def _end_node(end: End) -> str:
    return f"finish_{end.name}"


def _mermaid(lines: list[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"```mermaid\nflowchart TD\n{body}\n```\n"


def _decision() -> str:
    """Figure 7, from what is decided for every combination of options."""
    lines = ['box_710["710 (720, 740, 750)<br>examine the options of the open"]']
    chosen: dict[str, list[str]] = {}
    for options in _combinations():
        none_set = "" if options else " (722, 724, 726)"
        chosen.setdefault(_chosen(options), []).append(f"{options}{none_set}")
    for place, (then, texts) in enumerate(chosen.items()):
        combinations = "<br>".join(texts).replace("_OPEN", "").replace("_RESERVATION", "")
        lines.append(f'to_{place}(["{then}"])')
        lines.append(f'box_710 -->|"{combinations}"| to_{place}')
    return f"{_heading(fig07_decision)}\n{_mermaid(lines)}"


def _combinations() -> Iterator[OpenOption]:
    """Every set of options, the empty one first."""
    for chosen in sorted(product((False, True), repeat=len(OpenOption)), key=sum):
        options = OpenOption.DEFAULT
        for is_in, option in zip(chosen, OpenOption, strict=True):
            options |= option if is_in else OpenOption.DEFAULT
        yield options


def _chosen(options: OpenOption) -> str:
    """What such an open runs, in words."""
    try:
        procedure = decide(options)
    except UsageError:
        return "EINVAL"
    number = re.search(r"fig(\d+)_", procedure.__module__)
    assert number
    return f"Figure {int(number[1])}"


def main(*arguments: str) -> int:
    """Write the page; with ``--check``, give 1 if it is not what would be written."""
    if arguments == ("--check",):
        return int(not FILE.exists() or FILE.read_text() != page())
    if arguments:
        sys.stderr.write("usage: scripts/draw-figures [--check]\n")
        return 2
    FILE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
