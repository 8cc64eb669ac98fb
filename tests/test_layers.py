"""Each import contract of pyproject.toml holds, and can be broken: a violation is planted and must be found."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mpio_fuse"


@attrs.frozen
class Planted:
    """A line that one module must not contain, and the contract that says so."""

    contract: str
    module: str
    line: str


PLANTED = (
    Planted("layers", "daemon/planted.py", "import mpio_fuse.cli"),
    Planted("layers", "fs/planted.py", "import mpio_fuse.daemon"),
    Planted("layers", "fs/planted.py", "import mpio_fuse.openx"),
    Planted("layers", "device/planted.py", "import mpio_fuse.fs"),
    Planted("layers", "reserve/planted.py", "import mpio_fuse.transport"),
    Planted("layers", "transport/planted.py", "import mpio_fuse.reserve"),
    Planted("layers", "target/planted.py", "import mpio_fuse.transport"),
    Planted("layers", "scsi/planted.py", "def late() -> None:\n    import mpio_fuse.target"),
    Planted("layers", "planted/__init__.py", "# a package without a layer"),
    Planted("purity", "scsi/planted.py", "import time"),
    Planted("purity", "reserve/planted.py", "from trio import sleep"),
    Planted("purity", "target/planted.py", "import os.path"),
    Planted("purity", "target/planted.py", "import structlog"),
    Planted("purity", "scsi/planted.py", "from random import randbytes"),
    Planted("cffi", "device/planted.py", "import cffi"),
    Planted("pyfuse3", "fs/planted.py", "import pyfuse3"),
    Planted("pyfuse3", "daemon/planted.py", "from pyfuse3 import Operations"),
)


def contracts() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]}


def lint_imports(checkout: Path, *chosen: str) -> subprocess.CompletedProcess[str]:
    """Run the tool on the package in ``checkout``; it prefers the current folder to what is installed."""
    program = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    options = [part for contract in chosen for part in ("--contract", contract)]
    return subprocess.run(
        [*program, *options], cwd=checkout, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    sources = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
    shutil.copytree(PACKAGE, tmp_path / "mpio_fuse", ignore=sources)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(checkout: Path) -> None:
    run = lint_imports(checkout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(contracts())} kept, 0 broken" in run.stdout


@pytest.mark.parametrize(
    "planted", PLANTED, ids=lambda planted: f"{planted.module}: {planted.line}"
)
def test_a_violation_is_found(checkout: Path, planted: Planted) -> None:
    module = checkout / "mpio_fuse" / planted.module
    module.parent.mkdir(exist_ok=True)
    module.write_text(planted.line + "\n")
    run = lint_imports(checkout, planted.contract)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 broken" in run.stdout
    assert "planted" in run.stdout


def test_every_contract_has_a_violation_planted() -> None:
    assert contracts() == {planted.contract for planted in PLANTED}


def imported_names(source: str) -> Iterator[str]:
    """Dotted names of everything a module imports, an imported attribute included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names
            )


def uses_extension(source: str) -> bool:
    return any("_sgutils" in name.split(".") for name in imported_names(source))


@pytest.mark.parametrize(
    "line",
    [
        "from mpio_fuse.transport.sg import _sgutils",
        "from mpio_fuse.transport.sg._sgutils import lib",
        "import mpio_fuse.transport.sg._sgutils as native",
        "from ._sgutils import ffi",
    ],
)
def test_an_import_of_the_extension_is_recognised(line: str) -> None:
    assert uses_extension(line)


def test_only_the_sg_transport_imports_the_extension() -> None:
    # Compiled, so the import contracts do not see it.
    modules = [path for path in PACKAGE.rglob("*.py") if uses_extension(path.read_text())]
    assert modules
    assert {path.parent for path in modules} == {PACKAGE / "transport" / "sg"}
