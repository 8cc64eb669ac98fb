"""Figure 7: which options run which figure, over all sets of options; and each way to get that wrong shows."""

import ast
import copy
import inspect
from collections.abc import Iterator
from types import ModuleType

import attrs
import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve import fig07_decision
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from tests.reserve.mutation import compiled, overwrite

EINVAL = "EINVAL"
FIGURES = ("default_reserve", "no_reserve", "retain_reservation", "forced_open")

DECISION = {
    "DEFAULT": "default_reserve",
    "NO_RESERVE": "no_reserve",
    "RETAIN_RESERVATION": "retain_reservation",
    "NO_RESERVE+RETAIN_RESERVATION": EINVAL,
    "SINGLE": "default_reserve",
    "NO_RESERVE+SINGLE": EINVAL,
    "RETAIN_RESERVATION+SINGLE": "retain_reservation",
    "NO_RESERVE+RETAIN_RESERVATION+SINGLE": EINVAL,
    "FORCED_OPEN": "forced_open",
    "NO_RESERVE+FORCED_OPEN": EINVAL,
    "RETAIN_RESERVATION+FORCED_OPEN": "forced_open",
    "NO_RESERVE+RETAIN_RESERVATION+FORCED_OPEN": EINVAL,
    "SINGLE+FORCED_OPEN": "forced_open",
    "NO_RESERVE+SINGLE+FORCED_OPEN": EINVAL,
    "RETAIN_RESERVATION+SINGLE+FORCED_OPEN": "forced_open",
    "NO_RESERVE+RETAIN_RESERVATION+SINGLE+FORCED_OPEN": EINVAL,
}
"""Every set of options, spelled as the documentation does."""


@attrs.frozen
class Broken:
    """Figure 7's module with one mistake in it."""

    name: str
    module: ModuleType


def decided(module: ModuleType) -> dict[str, str]:
    """What that version of the module decides for every set of options."""
    found = {}
    for bits in range(1 << len(OpenOption)):
        options = module.OpenOption(bits)
        try:
            found[str(options)] = module.decide(options).__name__
        except UsageError:
            found[str(options)] = EINVAL
    return found


def every_mistake() -> Iterator[Broken]:
    tree = ast.parse(inspect.getsource(fig07_decision))
    for place, node in enumerate(ast.walk(tree)):
        for what, mutant in _mistakes_at(node):
            broken = copy.deepcopy(tree)
            overwrite(list(ast.walk(broken))[place], mutant)
            name = f"{getattr(node, 'lineno', 0)} {what}"
            yield Broken(name, compiled(broken, "fig07_decision"))


def _mistakes_at(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.If(test=test):
            yield "condition turned", ast.If(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)
        case ast.Return(value=ast.Name(id=figure)):
            for other in FIGURES:
                if other != figure:
                    yield other, ast.Return(ast.Name(other, ast.Load()))
        case ast.Compare(left=ast.Attribute(value=owner, attr=name), ops=ops, comparators=more):
            for option in OpenOption:
                if option.name != name:
                    instead = ast.Attribute(owner, str(option.name), ast.Load())
                    yield f"{option.name}", ast.Compare(instead, ops, more)
        case ast.BoolOp(op=ast.And(), values=values):
            yield "or for and", ast.BoolOp(ast.Or(), values)
        case ast.Expr(value=ast.Call()):
            yield "call left out", ast.Pass()


MISTAKES = list(every_mistake())


def test_options_choose_the_figure() -> None:
    assert decided(fig07_decision) == DECISION


@pytest.mark.parametrize("broken", MISTAKES, ids=lambda broken: broken.name)
def test_a_mistake_shows_in_the_decision(broken: Broken) -> None:
    assert decided(broken.module) != DECISION


def test_there_is_a_mistake_for_every_branch() -> None:
    turned = [broken for broken in MISTAKES if broken.name.endswith("condition turned")]
    assert len(turned) >= len(FIGURES)
    assert len(MISTAKES) > 20


def test_options_that_contradict_each_other_say_which() -> None:
    with pytest.raises(UsageError, match="NO_RESERVE goes with no other"):
        decide(OpenOption.NO_RESERVE | OpenOption.SINGLE)
