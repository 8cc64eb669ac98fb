"""Locks on extents: overlapping ones exclude each other, in order of arrival; others do not wait."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mpio_fuse.device.extents import Extent
from mpio_fuse.device.range_lock import RangeLock


async def test_what_does_not_overlap_does_not_wait() -> None:
    lock = RangeLock()
    async with lock.holding(Extent(0, 8)):
        with trio.fail_after(1):
            async with lock.holding(Extent(8, 8)):
                pass


async def test_what_overlaps_waits_in_order_of_arrival() -> None:
    lock = RangeLock()
    order: list[int] = []

    async def write(number: int, extent: Extent) -> None:
        async with lock.holding(extent):
            order.append(number)

    async with trio.open_nursery() as nursery, lock.holding(Extent(0, 8)):
        nursery.start_soon(write, 1, Extent(4, 8))
        await wait_all_tasks_blocked()
        nursery.start_soon(write, 2, Extent(10, 4))  # free, but behind 1
        await wait_all_tasks_blocked()
        nursery.start_soon(write, 3, Extent(14, 4))
        await wait_all_tasks_blocked()
        assert order == [3]
    assert order == [3, 1, 2]


async def test_a_cancelled_waiter_does_not_hold_up_those_behind_it() -> None:
    lock = RangeLock()
    got_it = trio.Event()

    async def write(extent: Extent) -> None:
        async with lock.holding(extent):
            got_it.set()

    async with trio.open_nursery() as nursery, lock.holding(Extent(0, 4)):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as waiters:
                waiters.start_soon(write, Extent(2, 8))
                await wait_all_tasks_blocked()
                nursery.start_soon(write, Extent(6, 2))
                await wait_all_tasks_blocked()
                assert not got_it.is_set()
                scope.cancel()
        with trio.fail_after(1):
            await got_it.wait()


EXTENTS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8), st.floats(0, 3), st.floats(0, 3)), max_size=12
)


@given(EXTENTS)
def test_no_two_holders_ever_overlap_and_all_get_their_turn(
    claims: list[tuple[int, int, float, float]],
) -> None:
    lock = RangeLock()
    held: list[Extent] = []
    done: list[Extent] = []

    async def write(extent: Extent, after_s: float, for_s: float) -> None:
        await trio.sleep(after_s)
        async with lock.holding(extent):
            for other in held:
                assert extent.end_lba <= other.lba or other.end_lba <= extent.lba
            held.append(extent)
            await trio.sleep(for_s)
            held.remove(extent)
        done.append(extent)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for lba, blocks, after_s, for_s in claims:
                nursery.start_soon(write, Extent(lba, blocks), after_s, for_s)

    trio.run(run, clock=MockClock(autojump_threshold=0))
    assert len(done) == len(claims)


async def test_what_would_have_to_wait_is_not_held() -> None:
    lock = RangeLock()
    claim = lock.try_hold(Extent(0, 4))
    assert claim is not None
    assert lock.try_hold(Extent(3, 4)) is None
    neighbour = lock.try_hold(Extent(4, 4))
    assert neighbour is not None
    lock.release(claim)
    assert lock.try_hold(Extent(3, 1)) is not None


async def test_nobody_overtakes_one_that_waits() -> None:
    lock, order = RangeLock(), list[str]()
    claim = lock.try_hold(Extent(0, 4))
    assert claim is not None

    async def wait() -> None:
        async with lock.holding(Extent(2, 4)):
            order.append("waited")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert lock.try_hold(Extent(5, 1)) is None  # free, but somebody waits for it
            lock.release(claim)
    assert order == ["waited"]
    assert lock.try_hold(Extent(0, 8)) is not None
