import os
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from mpio_fuse.transport.busy_poll import BusyPoll


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe(), os.pipe()]
    yield made
    for ends in made:
        for fd in ends:
            os.close(fd)


def test_a_look_does_what_is_readable_and_nothing_else(pipes: list[tuple[int, int]]) -> None:
    poll, done = BusyPoll(), list[int]()
    for number, (reading, _) in enumerate(pipes):
        poll.add(reading, lambda number=number: done.append(number))  # type: ignore[misc]
    assert not poll.look()
    os.write(pipes[1][1], b"x")
    assert poll.look()
    assert done == [1]


def test_one_that_the_first_has_ended_is_left_alone(pipes: list[tuple[int, int]]) -> None:
    poll, done = BusyPoll(), list[str]()
    first, second = (reading for reading, _ in pipes)

    def act(name: str, other: int) -> None:
        done.append(name)
        poll.remove(other)

    poll.add(first, lambda: act("first", second))
    poll.add(second, lambda: act("second", first))
    for _, writing in pipes:
        os.write(writing, b"x")
    poll.look()
    assert len(done) == 1


def test_what_was_removed_is_looked_at_no_more(pipes: list[tuple[int, int]]) -> None:
    poll, done = BusyPoll(), list[int]()
    reading, writing = pipes[0]
    poll.add(reading, lambda: done.append(1))
    poll.remove(reading)
    poll.remove(reading)
    os.write(writing, b"x")
    assert not poll.look()
    assert not done


async def test_while_somebody_looks_nobody_else_waits_for_the_descriptor(
    pipes: list[tuple[int, int]],
) -> None:
    poll, (reading, writing) = BusyPoll(), pipes[0]
    woken = trio.Event()

    async def wait() -> None:
        await poll.wait_readable(reading)
        woken.set()

    poll.is_hot = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        os.write(writing, b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not woken.is_set()
        poll.cool()
        with trio.fail_after(20):
            await woken.wait()


async def test_once_nobody_looks_the_descriptor_wakes(pipes: list[tuple[int, int]]) -> None:
    poll, (reading, writing) = BusyPoll(), pipes[0]
    poll.is_hot = True
    poll.cool()
    os.write(writing, b"x")
    with trio.fail_after(20):
        await poll.wait_readable(reading)


async def test_a_cancelled_waiter_is_not_woken(pipes: list[tuple[int, int]]) -> None:
    poll = BusyPoll()
    poll.is_hot = True
    with trio.move_on_after(0):
        await poll.wait_readable(pipes[0][0])
    poll.cool()
