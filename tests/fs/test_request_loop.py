"""The stand-in for trio inside pyfuse3, with a pipe for the kernel: a byte is a request."""

import os
from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing

from mpio_fuse.fs.request_loop import MAX_IN_A_ROW, RequestLoop
from mpio_fuse.transport.busy_poll import MAX_WINDOW_S, BusyPoll

HANG_S = 20.0


@attrs.define
class Kernel:
    """What pyfuse3's workers read from."""

    reading: int
    writing: int
    loop: RequestLoop
    poll: BusyPoll
    taken: list[str] = attrs.Factory(list)

    def ask(self, count: int = 1) -> None:
        os.write(self.writing, b"x" * count)

    async def worker(self, name: str, work: "trio.Event | None" = None) -> None:
        """As pyfuse3's: the turn, the wait, the request, the work."""
        while True:
            try:
                async with self.loop.Lock():
                    await self.loop.lowlevel.wait_readable(self.reading)
            except trio.ClosedResourceError:
                return
            os.read(self.reading, 1)
            self.taken.append(name)
            if work is not None:
                await work.wait()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # where the kernel's would block for ever, this fails
    poll = BusyPoll()
    yield Kernel(reading, writing, RequestLoop(poll), poll)
    os.close(reading)
    os.close(writing)


async def until(kernel: Kernel, count: int) -> None:
    with trio.fail_after(HANG_S):
        while len(kernel.taken) < count:
            await trio.lowlevel.checkpoint()


async def test_every_request_is_taken_once_however_many_workers_there_are(kernel: Kernel) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(kernel.worker, str(number))
        for round_number in range(1, 50):
            kernel.ask(4)
            await until(kernel, 4 * round_number)
            if round_number % 10 == 0:
                await trio.testing.wait_all_tasks_blocked(0.01)  # asleep, not polling
        nursery.cancel_scope.cancel()
    assert len(kernel.taken) == 4 * 49


async def test_who_has_done_its_work_takes_the_next_out_of_turn(kernel: Kernel) -> None:
    """The other, whose turn it is, is woken for a request that is gone by then, and must not read."""
    for round_number in range(20):  # which of the two runs first is trio's dice
        async with trio.open_nursery() as nursery:
            free = trio.Event()
            nursery.start_soon(kernel.worker, "busy", free)
            kernel.ask()
            await until(kernel, 3 * round_number + 1)
            nursery.start_soon(kernel.worker, "waiting")
            await trio.testing.wait_all_tasks_blocked(0.005)
            kernel.ask()
            free.set()
            await until(kernel, 3 * round_number + 2)
            kernel.ask()
            await until(kernel, 3 * round_number + 3)
            nursery.cancel_scope.cancel()


async def test_the_others_get_their_turn(kernel: Kernel) -> None:
    """A worker that never waits takes so many in a row and no more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.worker, "a")
        nursery.start_soon(kernel.worker, "b")
        await trio.testing.wait_all_tasks_blocked(0.01)
        kernel.ask(3 * MAX_IN_A_ROW)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert len(kernel.taken) <= 2 * (MAX_IN_A_ROW + 2)
        await until(kernel, 3 * MAX_IN_A_ROW)
        nursery.cancel_scope.cancel()
    assert set(kernel.taken) == {"a", "b"}


async def test_what_a_transport_waits_for_is_served_while_polling(kernel: Kernel) -> None:
    reading, writing = os.pipe()
    served = trio.Event()

    def serve() -> None:
        os.read(reading, 1)
        served.set()

    kernel.poll.add(reading, serve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.worker, "a")
        os.write(writing, b"x")
        with trio.fail_after(HANG_S):
            await served.wait()
        nursery.cancel_scope.cancel()
    kernel.poll.remove(reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("is_asleep", [True, False])
async def test_closing_ends_every_wait(kernel: Kernel, *, is_asleep: bool) -> None:
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(kernel.worker, name)
            if is_asleep:
                await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(trio.lowlevel.checkpoint)
            kernel.loop.lowlevel.notify_closing(kernel.reading)


async def test_a_worker_cancelled_while_it_waits_gives_the_turn_on(kernel: Kernel) -> None:
    scope = trio.CancelScope()

    async def first() -> None:
        with scope:
            await kernel.worker("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(kernel.worker, "second")
        await trio.testing.wait_all_tasks_blocked(0.01)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        kernel.ask()
        await until(kernel, 1)
        nursery.cancel_scope.cancel()
    assert kernel.taken == ["second"]


async def test_when_nobody_polls_any_more_all_who_wait_for_a_descriptor_are_told(
    kernel: Kernel,
) -> None:
    """A transport's reader is parked while requests come, and has to read by itself when they do not."""
    kernel.poll.is_hot = True
    kernel.poll.window.slept(MAX_WINDOW_S / 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.worker, "a")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not kernel.poll.is_hot
        assert not kernel.poll.is_calm  # or who stays would take this for a loop that polls
        kernel.poll.is_hot = True
        nursery.cancel_scope.cancel()
    assert not kernel.poll.is_hot


async def test_whoever_an_answer_woke_runs_before_anybody_polls(kernel: Kernel) -> None:
    """Polling keeps the thread: an answer to a caller would lie there until it is over."""
    reading, writing = os.pipe()
    answered = trio.Event()
    polled_before = list[int]()

    def take_answer() -> None:
        os.read(reading, 1)
        answered.set()

    kernel.poll.add(reading, take_answer)
    spin, spun = kernel.poll.spin, list[None]()

    def note_and_spin() -> bool:
        spun.append(None)
        return spin()

    kernel.poll.spin = note_and_spin  # type: ignore[method-assign]

    async def caller() -> None:
        nonlocal answered
        while True:
            await answered.wait()
            answered = trio.Event()
            polled_before.append(len(spun) - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kernel.worker, "a")
        nursery.start_soon(caller)
        for _ in range(40):  # who is first in a pass is trio's dice
            await trio.testing.wait_all_tasks_blocked(0.001)
            before = len(spun)
            os.write(writing, b"x")
            kernel.ask()  # what ends the worker's sleep
            await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()
    kernel.poll.remove(reading)
    os.close(reading)
    os.close(writing)
    assert polled_before == [0] * 40
