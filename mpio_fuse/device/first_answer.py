"""Ask one underpath; when it is silent, all the others side by side: however many hang, it takes no longer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

PATIENCE_S = 1.0
"""How long one underpath may be silent before all others are asked as well."""

One = TypeVar("One")
Answer = TypeVar("Answer")


class _Asking(Generic[One, Answer]):
    """Questions under way.  ``news`` is set by an answer, and by the end of the last question."""

    def __init__(self, ask: Callable[[One], Awaitable[Answer | None]]) -> None:
        self._ask = ask
        self._under_way = 0
        self.answers: list[Answer] = []
        self.answered_in_s = 0.0
        self.news = trio.Event()

    def start(self, one: One, nursery: trio.Nursery) -> None:
        self._under_way += 1
        self.news = trio.Event()
        nursery.start_soon(self._run, one)

    async def _run(self, one: One) -> None:
        started_s = trio.current_time()
        answer = await self._ask(one)
        self._under_way -= 1
        if answer is not None:
            self.answers.append(answer)
            self.answered_in_s = trio.current_time() - started_s
        if answer is not None or not self._under_way:
            self.news.set()


async def first_answer(
    ones: Sequence[One], ask: Callable[[One], Awaitable[Answer | None]], patience_s: float
) -> Answer | None:
    """The first answer, None when nobody has one.  How long the questions take is bounded by the caller.

    They are asked in that order: the next when one has no answer, all that are left when one is silent for so long.
    Those still asked when the answer comes get as long as it took before they are cancelled: that strands a command.
    """
    asking: _Asking[One, Answer] = _Asking(ask)
    waiting = list(ones)
    async with trio.open_nursery() as nursery:
        while waiting and not asking.answers:
            asking.start(waiting.pop(0), nursery)
            with trio.move_on_after(patience_s) as patience:
                await asking.news.wait()
            if patience.cancelled_caught:
                while waiting:
                    asking.start(waiting.pop(0), nursery)
        if ones and not asking.answers:
            await asking.news.wait()
        nursery.cancel_scope.deadline = trio.current_time() + asking.answered_in_s
    return asking.answers[0] if asking.answers else None
