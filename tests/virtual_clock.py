"""Tests on a virtual clock: with ``@pytest.mark.virtual_clock`` (or as ``pytestmark``) their sleeps take no time.

For code that waits for nothing but trio: a clock that jumps while a thread or an ioctl runs tells lies.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

MARK = "virtual_clock"


def run_on_virtual_clock(
    function: Callable[..., Awaitable[None]],
    *args: object,
    **options: Any,  # noqa: ANN401 (what pytest-trio passes on to trio.run)
) -> None:
    """`trio.run` with a clock that jumps to the next deadline as soon as every task waits."""
    options["clock"] = MockClock(autojump_threshold=0)
    trio.run(function, *args, **options)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARK}: the test's sleeps take no time")


@pytest.hookimpl(trylast=True)  # after trio_mode has marked every test with a run of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker(MARK) is not None:
            item.add_marker(pytest.mark.trio(run=run_on_virtual_clock), append=False)
