"""One question put to several, of whom some are silent."""

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.first_answer import first_answer

pytestmark = pytest.mark.virtual_clock

SILENT = float("inf")


class _Asked:
    """Each is named, and answers with its name after so long; None: it says at once that it has no answer."""

    def __init__(self, **after_s: float | None) -> None:
        self.names = list(after_s)
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self._after_s = after_s

    async def ask(self, name: str) -> str | None:
        self.asked.append(name)
        after_s = self._after_s[name]
        if after_s is None:
            return None
        try:
            await trio.sleep(after_s)
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        return name


async def test_who_answers_is_the_only_one_asked(autojump_clock: MockClock) -> None:
    asked = _Asked(a=0.5, b=0.1)
    assert await first_answer(asked.names, asked.ask, 1.0) == "a"
    assert asked.asked == ["a"]


async def test_who_has_no_answer_is_followed_by_the_next_alone(autojump_clock: MockClock) -> None:
    asked = _Asked(a=None, b=None, c=0.5, d=0.1)
    assert await first_answer(asked.names, asked.ask, 1.0) == "c"
    assert asked.asked == ["a", "b", "c"]


async def test_who_is_silent_is_followed_by_all_others_at_once(autojump_clock: MockClock) -> None:
    asked = _Asked(a=SILENT, b=SILENT, c=SILENT, d=0.5)
    started_s = trio.current_time()
    assert await first_answer(asked.names, asked.ask, 1.0) == "d"
    assert trio.current_time() - started_s == pytest.approx(1.0 + 0.5 + 0.5)
    assert sorted(asked.cancelled) == ["a", "b", "c"]


async def test_others_that_are_about_to_answer_are_not_cancelled(autojump_clock: MockClock) -> None:
    """A cancelled command is stranded: its underpath would count as busy with an old one."""
    asked = _Asked(a=1.2, b=1.0, c=SILENT)
    assert await first_answer(asked.names, asked.ask, 1.0) == "a"
    assert asked.cancelled == ["c"]


async def test_when_nobody_has_an_answer_there_is_none(autojump_clock: MockClock) -> None:
    asked = _Asked(a=None, b=None)
    assert await first_answer(asked.names, asked.ask, 1.0) is None
    assert await first_answer([], asked.ask, 1.0) is None


async def test_a_slow_one_is_waited_for(autojump_clock: MockClock) -> None:
    asked = _Asked(a=5.0, b=None)
    assert await first_answer(asked.names, asked.ask, 1.0) == "a"
