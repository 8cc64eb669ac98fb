"""Which test guards against which hazard, as pytest itself collects them.

The marker ``hazard(number, ...)`` names lines of docs/hazards.md.  With ``--hazards-to=FILE`` what was collected is
written there as JSON: for each test without its parameters the numbers it is marked with, its class's and module's
included.  `tests.test_hazards` compares that with the page.
"""

import json
from pathlib import Path

import pytest

Marked = dict[str, set[int]]

_MARKED = pytest.StashKey[Marked]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hazards-to", type=Path, help="write which test guards which hazard there")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MARKED] = {}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Here, before anything can select, order or replace the items."""
    numbers = item.config.stash[_MARKED].setdefault(item.nodeid.partition("[")[0], set())
    for mark in item.iter_markers("hazard"):
        if not mark.args or not all(isinstance(one, int) for one in mark.args):
            raise pytest.UsageError(f"{item.nodeid}: hazard wants the numbers of docs/hazards.md")
        numbers.update(mark.args)


def pytest_collection_finish(session: pytest.Session) -> None:
    file = session.config.option.hazards_to
    if file is not None:
        marked = {name: sorted(all_) for name, all_ in session.config.stash[_MARKED].items()}
        file.write_text(json.dumps(marked))
