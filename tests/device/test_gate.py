"""The I/O gate: nothing passes while it is closed, and a hung command does not hold the closer up."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mpio_fuse.device.gate import Gate


async def test_closing_waits_for_commands_under_way() -> None:
    gate = Gate()
    finish = trio.Event()
    drained: list[bool] = []

    async def command() -> None:
        async with gate.passing():
            await finish.wait()

    async def close() -> None:
        async with gate.closed(10) as is_empty:
            drained.append(is_empty)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(command)
        await wait_all_tasks_blocked()
        nursery.start_soon(close)
        await wait_all_tasks_blocked()
        assert drained == []
        finish.set()
    assert drained == [True]


async def test_nothing_passes_a_closed_gate() -> None:
    gate = Gate()
    passed = trio.Event()

    async def command() -> None:
        async with gate.passing():
            passed.set()

    async with trio.open_nursery() as nursery:
        async with gate.closed(1):
            nursery.start_soon(command)
            await wait_all_tasks_blocked()
            assert not passed.is_set()
        with trio.fail_after(1):
            await passed.wait()


async def test_who_waited_for_one_closer_does_not_slip_past_the_next() -> None:
    for _ in range(40):  # who of a waiter and the next closer runs first is a matter of chance
        await waiter_and_next_closer()


async def waiter_and_next_closer() -> None:
    gate = Gate()
    is_closed = False

    async def command() -> None:
        async with gate.passing():
            assert not is_closed

    async def close_next() -> None:
        nonlocal is_closed
        async with gate.closed(1):
            is_closed = True
            await wait_all_tasks_blocked()
            is_closed = False

    async with trio.open_nursery() as nursery, gate.closed(1):
        nursery.start_soon(command)
        nursery.start_soon(close_next)
        await wait_all_tasks_blocked()


@pytest.mark.hazard(25)
async def test_a_hung_command_bounds_the_wait(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:

        async def hung() -> None:
            async with gate.passing():
                await trio.sleep_forever()

        nursery.start_soon(hung)
        await wait_all_tasks_blocked()
        async with gate.closed(5) as is_empty:
            assert not is_empty
            assert trio.current_time() - autojump_clock.current_time() == 0
        nursery.cancel_scope.cancel()


async def test_closers_exclude_each_other() -> None:
    gate = Gate()
    inside = 0

    async def close() -> None:
        nonlocal inside
        async with gate.closed(1):
            inside += 1
            assert inside == 1
            await trio.lowlevel.checkpoint()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(close)


async def test_what_is_known_to_hang_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Also when that becomes known while a closer waits."""
    hung = 0
    gate = Gate(lambda: hung)

    async def hang() -> None:
        async with gate.passing():
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        started_s = trio.current_time()

        async def learn() -> None:
            nonlocal hung
            await trio.sleep(2)
            hung = 2
            gate.look_again()

        nursery.start_soon(learn)
        async with gate.closed(10):
            assert trio.current_time() - started_s == 2
        async with gate.closed(10):
            assert trio.current_time() - started_s == 2
        nursery.cancel_scope.cancel()
