import os
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from mpio_fuse.transport.busy_poll import MAX_STAY, MAX_WINDOW_S, BusyPoll, Window


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


def test_nobody_polls_until_a_sleep_was_short() -> None:
    window = Window()
    assert window.open() == 0
    window.slept(MAX_WINDOW_S * 2)
    assert window.open() == 0
    window.slept(MAX_WINDOW_S / 2)
    assert window.open() == MAX_WINDOW_S


def test_polling_in_vain_is_left_out_for_longer_and_longer() -> None:
    window = Window()
    window.slept(MAX_WINDOW_S / 2)
    window.was_in_vain()
    assert [window.open() > 0 for _ in range(2)] == [False, True]
    window.was_in_vain()
    assert [window.open() > 0 for _ in range(3)] == [False, False, True]
    window.was_worth_it()
    window.was_in_vain()
    assert [window.open() > 0 for _ in range(2)] == [False, True]


@pytest.fixture
def polling(pipes: list[tuple[int, int]]) -> BusyPoll:
    """One whose window is open, and that looks at the first pipe."""
    poll = BusyPoll()
    poll.window.slept(MAX_WINDOW_S / 2)
    poll.is_calm = True
    poll.add(pipes[0][0], lambda: None)
    return poll


def test_who_stays_stays_until_it_is_over(polling: BusyPoll, pipes: list[tuple[int, int]]) -> None:
    reading, writing = pipes[0]
    seen = list[bytes]()
    polling.add(reading, lambda: seen.append(os.read(reading, 1)))
    os.write(writing, b"xxx")
    polling.stay(lambda: len(seen) == 2)
    assert len(seen) == 2
    assert polling.is_calm
    assert not polling.is_hot  # nobody would wait for the descriptors once it goes on


def test_nobody_stays_for_ever(polling: BusyPoll, pipes: list[tuple[int, int]]) -> None:
    """What comes may be everything but the answer."""
    looks = list[None]()
    polling.add(pipes[0][0], lambda: looks.append(None))
    os.write(pipes[0][1], b"x")
    polling.stay(lambda: False)
    assert len(looks) == MAX_STAY
    assert not polling.is_calm


def test_nobody_stays_where_another_has_something_to_do(
    polling: BusyPoll, pipes: list[tuple[int, int]]
) -> None:
    looks = list[None]()

    def wake_another() -> None:
        looks.append(None)
        polling.disturb()

    polling.add(pipes[0][0], wake_another)
    os.write(pipes[0][1], b"x")
    polling.stay(lambda: False)
    polling.stay(lambda: False)
    assert len(looks) == 1


def test_staying_ends_with_the_window(polling: BusyPoll) -> None:
    polling.stay(lambda: False)
    assert not polling.is_calm
