"""Each procedure, broken on purpose in every small way, is told from its figure by the comparison of edges.

A procedure is broken in its source: an outcome taken for another one, an end for another end, a box left out or
made to do something else, a condition turned round, another edge than the deviating one marked as a deviation.
Figure 7, which is no procedure, is broken in `tests.reserve.test_decision`.
"""

import ast
import copy
import inspect
from collections.abc import Iterator
from types import ModuleType

import attrs
import pytest

from mpio_fuse.reserve.procedure import OUTCOMES, Act, End, Outcome
from mpio_fuse.reserve.walk import boxes, walk
from tests.reserve.charts import CHARTS, Chart
from tests.reserve.mutation import compiled, overwrite
from tests.reserve.test_figures import acts, deviations, printed


@attrs.frozen
class Broken:
    """A figure's module with one mistake in it."""

    name: str
    figure: str
    module: ModuleType

    def is_told_from_the_figure(self) -> bool:
        """Whether a chart of the figure shows the mistake, in any of the figure's cases."""
        return any(differs(chart, self.module) for chart in CHARTS if chart.figure == self.figure)


def differs(chart: Chart, module: ModuleType) -> bool:
    """Whether another version of a procedure has other edges or boxes than the figure, or leads nowhere."""
    procedure = chart.procedure_of(module)
    try:
        is_same = (
            set(walk(procedure)) == printed(chart) | deviations(chart)
            and set(walk(procedure, deviating=False)) == printed(chart)
            and {label: box.act for label, box in boxes(procedure).items()}.items()
            <= acts(chart).items()
        )
    except ValueError:
        return True
    return not is_same


def every_mistake() -> Iterator[Broken]:
    for source in dict.fromkeys(chart.module for chart in CHARTS):
        figure = source.__name__.rpartition(".")[2]
        tree = ast.parse(inspect.getsource(source))
        for place, node in enumerate(ast.walk(tree)):
            for what, mutant in _mistakes_at(node):
                broken = copy.deepcopy(tree)
                overwrite(list(ast.walk(broken))[place], mutant)
                name = f"{figure}:{getattr(node, 'lineno', 0)} {what}"
                yield Broken(name, figure, compiled(broken, figure))


def _mistakes_at(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What can go wrong at one node: words for it, and the node as it would then be."""
    match node:
        case ast.Match(subject=ast.Yield(value=ast.Call(args=[_, act, *_])), cases=cases):
            yield from _swapped_cases(node)
            yield from _other_outcomes(node, Act[ast.unparse(act).removeprefix("Act.")], cases)
        case ast.Call(func=ast.Name(id="box"), args=[label, act, *more]):
            for other in _others(act, Act):
                yield f"act {ast.unparse(other)}", ast.Call(node.func, [label, other, *more], [])
        case ast.Return(value=ast.Attribute() as end):
            for other in _others(end, End):
                yield f"end {ast.unparse(other)}", ast.Return(other)
        case ast.Dict(keys=[ast.Attribute() as outcome], values=reasons):
            for other in _others(outcome, Outcome):
                yield f"deviating {ast.unparse(other)}", ast.Dict([other], reasons)
        case _:
            yield from _mistakes_without_boxes(node)


def _mistakes_without_boxes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.If(test=test):
            turned = ast.UnaryOp(ast.Not(), test)
            yield "condition turned", ast.If(turned, node.body, node.orelse)
        case ast.BoolOp(op=ast.Or(), values=values):
            yield "and for or", ast.BoolOp(ast.And(), values)
        case ast.Expr(value=ast.Yield()):
            yield "box left out", ast.Pass()


def _swapped_cases(node: ast.Match) -> Iterator[tuple[str, ast.AST]]:
    """Two outcomes that lead to different places, taken for each other."""
    for one, two in _pairs(len(node.cases)):
        if ast.dump(ast.Module(node.cases[one].body, [])) == ast.dump(
            ast.Module(node.cases[two].body, [])
        ):
            continue
        mutant = copy.deepcopy(node)
        first, second = mutant.cases[one], mutant.cases[two]
        first.pattern, second.pattern = second.pattern, first.pattern
        yield f"cases {one} and {two} swapped", mutant


def _other_outcomes(
    node: ast.Match, act: Act, cases: list[ast.match_case]
) -> Iterator[tuple[str, ast.AST]]:
    """A single case that takes the outcome it should let pass."""
    if len(cases) > 1:
        return
    handled = ast.unparse(cases[0].pattern).removeprefix("Outcome.")
    for outcome in OUTCOMES[act]:
        if outcome is not Outcome[handled]:
            mutant = copy.deepcopy(node)
            mutant.cases[0].pattern = ast.MatchValue(_member(outcome))
            yield f"case {outcome.name}", mutant


def _others(value: ast.expr, members: type[Act | End | Outcome]) -> Iterator[ast.expr]:
    name = ast.unparse(value).rpartition(".")[2]
    return (_member(member) for member in members if member.name != name)


def _member(member: Act | End | Outcome) -> ast.expr:
    return ast.parse(f"{type(member).__name__}.{member.name}", mode="eval").body


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    return ((one, two) for one in range(count) for two in range(one + 1, count))


MISTAKES = list(every_mistake())


@pytest.mark.parametrize("broken", MISTAKES, ids=lambda broken: broken.name)
def test_a_mistake_shows_in_the_edges(broken: Broken) -> None:
    assert broken.is_told_from_the_figure()


@pytest.mark.parametrize("chart", CHARTS, ids=str)
def test_the_procedure_as_it_stands_does_not_differ(chart: Chart) -> None:
    assert not differs(chart, chart.module)


def test_there_is_a_mistake_at_every_edge_of_every_figure() -> None:
    """So that a figure written in another way, which nothing above breaks, is not taken for tested."""
    for chart in CHARTS:
        tried = [broken for broken in MISTAKES if broken.figure == chart.figure]
        assert len(tried) >= len(printed(chart))
