"""Commands that are started, not executed: how their waiting ends."""

from collections.abc import Callable

import attrs
import pytest
import trio

from mpio_fuse.device.at_once import TIMED_OUT, Flight, Watch
from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.unit_ready import test_unit_ready as unit_ready

BUSY = Completion(status=Status.BUSY)


@attrs.define
class Order:
    """A command that was started."""

    on_end: Callable[[Completion | Exception], None]
    is_abandoned: bool = False

    def abandon(self) -> None:
        self.is_abandoned = True


@attrs.define
class Starter:
    """A transport that ends nothing by itself, but what it is told to end at once."""

    at_once: Completion | None = None
    has_room: bool = True
    orders: list[Order] = attrs.Factory(list)

    def start(
        self, _command: Command, on_end: Callable[[Completion | Exception], None]
    ) -> Order | None:
        if not self.has_room:
            return None
        order = Order(on_end)
        self.orders.append(order)
        if self.at_once is not None:
            on_end(self.at_once)
        return order


def started(transport: Starter) -> Flight:
    flight = Flight()
    assert flight.start(transport, unit_ready())
    return flight


async def test_what_ended_before_anybody_waited_is_there(autojump_clock: object) -> None:
    flight = started(Starter(at_once=BUSY))
    assert await Watch(10).bounded(flight) is BUSY


async def test_an_answer_wakes_who_waits(autojump_clock: object) -> None:
    transport = Starter()
    flight = started(transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_after, transport.orders[0], BUSY)
        assert await Watch(10).bounded(flight) is BUSY
    assert not transport.orders[0].is_abandoned


async def answer_after(order: Order, how: Completion | Exception) -> None:
    await trio.sleep(1)
    order.on_end(how)


async def test_an_error_is_raised(autojump_clock: object) -> None:
    transport = Starter()
    flight = started(transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_after, transport.orders[0], TransportGone("closed"))
        with pytest.raises(TransportGone):
            await Watch(10).bounded(flight)


async def test_each_is_ended_at_its_own_time_and_abandoned(autojump_clock: object) -> None:
    transport, watch = Starter(), Watch(10)
    ends: list[float] = []

    async def fly(begin_s: float) -> None:
        await trio.sleep(begin_s)
        assert await watch.bounded(started(transport)) is TIMED_OUT
        ends.append(trio.current_time() - zero_s)

    zero_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for begin_s in (0, 3, 5):
            nursery.start_soon(fly, begin_s)
    assert ends == pytest.approx([10, 13, 15])
    assert all(order.is_abandoned for order in transport.orders)


async def test_the_watch_begins_anew_after_it_had_nothing_to_watch(autojump_clock: object) -> None:
    transport, watch = Starter(), Watch(10)
    for _ in range(2):
        with trio.fail_after(20):
            assert await watch.bounded(started(transport)) is TIMED_OUT
        await trio.sleep(100)


async def test_a_cancelled_wait_abandons_the_command(autojump_clock: object) -> None:
    transport = Starter()
    with trio.move_on_after(1) as scope:
        await Watch(10).bounded(started(transport))
    assert scope.cancelled_caught
    assert transport.orders[0].is_abandoned


async def test_what_is_not_started_is_no_flight() -> None:
    assert not Flight().start(Starter(has_room=False), unit_ready())
