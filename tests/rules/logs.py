"""A record of level WARNING or above that a test did not announce fails it; so does one announced that never came.

A warning in a log is a claim that something is wrong.  A test that provokes one says so, with the marker
``expects_log`` or, when the text is known only later, the fixture ``announce_log``; both take a pattern for
`re.search` in ``"<LEVEL> <logger>: <event> <key>=<value> ..."``.

All of a test counts, its fixtures included.  Records pass through the standard library, structlog's too;
`structlog.testing.capture_logs` takes records away from here: whoever uses it looks at them.
"""

import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager

import attrs
import pytest
import structlog

from mpio_fuse.daemon import logs


@attrs.define
class _Watch:
    """What one test announced, and what it logged."""

    announced: dict[re.Pattern[str], bool] = attrs.field(factory=dict)
    unannounced: list[str] = attrs.field(factory=list)
    call_passed: bool = False

    def announce(self, pattern: str) -> None:
        self.announced[re.compile(pattern)] = False

    def see(self, text: str) -> None:
        matching = [pattern for pattern in self.announced if pattern.search(text)]
        for pattern in matching:
            self.announced[pattern] = True
        if not matching:
            self.unannounced.append(text)

    def take_unannounced(self) -> list[str]:
        taken, self.unannounced = self.unannounced, []
        return taken

    def never_came(self) -> list[str]:
        return [pattern.pattern for pattern, came in self.announced.items() if not came]


class _Handler(logging.Handler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__(logging.WARNING)
        self.watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self.watch.see(f"{record.levelname} {record.name}: {_text(record)}")


_WATCH = pytest.StashKey[_Watch]()
_OWN_KEYS = (
    "event",
    "level",
    "logger",
    "timestamp",
)  # of structlog; in the text already, or no use there


def _text(record: logging.LogRecord) -> str:
    if not isinstance(record.msg, dict):
        return record.getMessage()
    values = [f"{key}={value}" for key, value in record.msg.items() if key not in _OWN_KEYS]
    return " ".join([str(record.msg["event"]), *values])


@contextmanager
def _watching(watch: _Watch) -> Generator[None]:
    handler = _Handler(watch)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
    if unannounced := watch.take_unannounced():
        pytest.fail(
            "logged without being announced (expects_log):\n" + "\n".join(unannounced),
            pytrace=False,
        )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expects_log(pattern): the test logs a matching record of level WARNING or above"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    structlog.contextvars.clear_contextvars()
    logs.route_to_stdlib()
    watch = item.stash[_WATCH] = _Watch()
    for mark in item.iter_markers("expects_log"):
        watch.announce(*mark.args)
    with _watching(watch):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    watch = item.stash[_WATCH]
    with _watching(watch):
        result = yield
    watch.call_passed = True
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    watch = item.stash[_WATCH]
    with _watching(watch):
        result = yield
    if watch.call_passed and (patterns := watch.never_came()):
        pytest.fail(
            "announced by expects_log, but never logged: " + ", ".join(patterns), pytrace=False
        )
    return result


@pytest.fixture
def announce_log(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say during the test which record of level WARNING or above is to come."""
    return request.node.stash[_WATCH].announce  # type: ignore[no-any-return] # pytest types node as Any
