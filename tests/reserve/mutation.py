"""A module broken on purpose: one node of its source made another one."""

import ast
from types import ModuleType


def overwrite(node: ast.AST, mutant: ast.AST) -> None:
    """Make one node of a tree another one, wherever it hangs."""
    node.__class__ = type(mutant)
    node.__dict__.clear()
    node.__dict__.update(mutant.__dict__)


def compiled(tree: ast.Module, name: str) -> ModuleType:
    """The module that a tree is the source of."""
    module = ModuleType(f"broken_{name}")
    code = compile(ast.fix_missing_locations(tree), module.__name__, "exec")
    exec(code, module.__dict__)  # noqa: S102 - our own source
    return module
