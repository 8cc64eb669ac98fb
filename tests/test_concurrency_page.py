"""docs/concurrency.md tells the truth: it has the promises that schedules are checked for, and its tests are there."""

import ast
import re
from pathlib import Path

from tests.schedules.invariants import INVARIANTS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/concurrency.md").read_text(encoding="utf-8")
PROMISE = re.compile(r"^### (\d+)\. ", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_the_page_has_every_promise() -> None:
    assert [int(number) for number in PROMISE.findall(PAGE)] == list(INVARIANTS)


def test_every_promise_names_tests_and_they_exist() -> None:
    _, *parts = PROMISE.split(PAGE)
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        named = NAMED.findall(text)
        assert named, f"promise {number} names no test"
        missing = [f"{file}::{name}" for file, name in named if name not in _functions(file)]
        assert not missing, f"promise {number}"
