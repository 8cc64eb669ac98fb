"""Commands under way: how they end, and what is noted of it before anybody is woken."""

from collections.abc import Callable

import attrs
import pytest
import trio

from mpio_fuse.device.flight import TIMED_OUT, Flight, Flights
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import TransportGone, UsageError
from mpio_fuse.scsi import block
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.transport.contract import Transport

TIMEOUT_S = 10.0
GOOD = Completion()
BUSY = Completion(status=Status.BUSY)
CONFLICT = Completion(status=Status.RESERVATION_CONFLICT)
DISRUPTED = Completion(host_status=HostStatus.TRANSPORT_DISRUPTED)

OnEnd = Callable[[Completion | Exception], None]


@attrs.define
class Order:
    """A command that was started."""

    on_end: OnEnd
    is_abandoned: bool = False

    def abandon(self) -> None:
        self.is_abandoned = True


@attrs.define
class Executor:
    """A transport that ends nothing by itself."""

    name: str = "underpath"
    max_transfer_bytes: int = 1 << 20
    max_in_flight: int = 64
    stranded: int = 0
    orders: list[Order] = attrs.Factory(list)
    executed: list[Command] = attrs.Factory(list)

    async def execute(self, command: Command) -> Completion:
        self.executed.append(command)
        await trio.sleep_forever()
        raise AssertionError

    async def reset_logical_unit(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


@attrs.define
class Starter(Executor):
    """One that starts commands, and ends at once what it is told to."""

    at_once: Completion | None = None
    has_room: bool = True

    def start(self, _command: Command, on_end: OnEnd) -> Order | None:
        if not self.has_room:
            return None
        order = Order(on_end)
        self.orders.append(order)
        if self.at_once is not None:
            on_end(self.at_once)
        return order


class Sky:
    """A device with one underpath, as far as flights know it."""

    def __init__(self, transport: Transport) -> None:
        self.gate = Gate()
        self.flights = Flights(self.gate, TIMEOUT_S)
        self.underpath = Underpath(0, transport)

    def flight(self, *, is_write: bool = False) -> Flight:
        assert self.gate.try_enter()
        command = (
            block.write(0, bytes(512), 512) if is_write else block.read(0, bytearray(512), 512)
        )
        now_s = trio.current_time()
        return Flight(self.flights, Grant("lun"), self.underpath, command, now_s, is_write=is_write)

    @property
    def is_over(self) -> bool:
        """Whether nothing of a flight is left: neither in the gate nor on the underpath."""
        return not self.gate._passing and not self.underpath.in_flight  # noqa: SLF001 - what a closer waits for


async def flown(
    sky: Sky, transport: Starter, how: Completion | Exception, *, is_write: bool
) -> Flight:
    """A flight that is answered a second later."""
    flight = sky.flight(is_write=is_write)
    async with trio.open_nursery() as nursery:

        async def fly() -> None:
            await flight.fly()
            assert sky.is_over

        nursery.start_soon(fly)
        await trio.sleep(1)
        transport.orders[-1].on_end(how)
    return flight


async def test_what_ended_before_anybody_waited_is_there(autojump_clock: object) -> None:
    sky = Sky(Starter(at_once=BUSY))
    flight = sky.flight()
    await flight.fly()
    assert flight.completion is BUSY
    assert sky.is_over


async def test_a_good_one_is_counted(autojump_clock: object) -> None:
    sky = Sky(transport := Starter())
    flight = await flown(sky, transport, GOOD, is_write=True)
    assert flight.is_plainly_good
    assert sky.underpath.counters.bytes_written == 512
    assert not transport.orders[0].is_abandoned
    assert sky.underpath.suspicion is None
    assert not sky.underpath.has_lost_write


async def test_what_an_answer_tells_is_noted_before_who_waits_is_woken(
    autojump_clock: object,
) -> None:
    sky = Sky(transport := Starter())
    flight = sky.flight()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.fly)
        await trio.sleep(1)
        transport.orders[0].on_end(CONFLICT)
        assert sky.underpath.suspicion is not None  # in the call itself
        assert sky.is_over
    assert flight.completion is CONFLICT


@pytest.mark.parametrize("is_write", [True, False])
async def test_an_answer_that_says_nothing_of_a_write_leaves_it_lost(
    autojump_clock: object, *, is_write: bool
) -> None:
    sky = Sky(transport := Starter())
    await flown(sky, transport, DISRUPTED, is_write=is_write)
    assert sky.underpath.has_lost_write is is_write


async def test_a_write_of_before_the_barrier_is_not_lost_after_it(autojump_clock: object) -> None:
    sky = Sky(transport := Starter())
    flight = sky.flight(is_write=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.fly)
        await trio.sleep(1)
        sky.underpath.epoch += 1
        transport.orders[0].on_end(DISRUPTED)
    assert not sky.underpath.has_lost_write


async def test_a_transport_that_is_gone_is_no_connect(autojump_clock: object) -> None:
    sky = Sky(transport := Starter())
    flight = await flown(sky, transport, TransportGone("closed"), is_write=False)
    assert flight.completion is not None
    assert flight.completion.host_status == HostStatus.NO_CONNECT
    assert sky.underpath.last_failure == "READ(10) on underpath: host status 0x01 NO_CONNECT"
    assert sky.underpath.state is UnderpathState.REMOVED


async def test_what_nobody_could_send_is_raised(autojump_clock: object) -> None:
    sky = Sky(transport := Starter())
    with pytest.RaisesGroup(UsageError):
        await flown(sky, transport, UsageError("too long"), is_write=False)
    assert sky.is_over


@pytest.mark.parametrize("kind", [Starter, Executor])
async def test_each_is_ended_at_its_own_time(autojump_clock: object, kind: type[Executor]) -> None:
    sky = Sky(transport := kind())
    ends: list[float] = []

    async def fly(begin_s: float) -> None:
        await trio.sleep(begin_s)
        flight = sky.flight(is_write=True)
        await flight.fly()
        assert flight.completion is TIMED_OUT
        assert sky.underpath.has_lost_write
        ends.append(trio.current_time() - zero_s)

    zero_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for begin_s in (0, 3, 5):
            nursery.start_soon(fly, begin_s)
    assert ends == pytest.approx([10, 13, 15])
    assert sky.is_over
    assert all(order.is_abandoned for order in transport.orders)


async def test_the_watch_begins_anew_after_it_had_nothing_to_watch(autojump_clock: object) -> None:
    sky = Sky(Starter())
    for _ in range(2):
        flight = sky.flight()
        with trio.fail_after(2 * TIMEOUT_S):
            await flight.fly()
        assert flight.completion is TIMED_OUT
        await trio.sleep(100)


@pytest.mark.parametrize("kind", [Starter, Executor])
@pytest.mark.parametrize("is_write", [True, False])
async def test_who_is_cancelled_leaves_a_suspicion_and_perhaps_a_lost_write(
    autojump_clock: object, kind: type[Executor], *, is_write: bool
) -> None:
    sky = Sky(transport := kind())
    with trio.move_on_after(1) as scope:
        await sky.flight(is_write=is_write).fly()
    assert scope.cancelled_caught
    assert all(order.is_abandoned for order in transport.orders)
    assert sky.underpath.suspicion is not None
    assert sky.underpath.suspicion.verdict is Verdict.UNKNOWN
    assert sky.underpath.has_lost_write is is_write
    assert sky.is_over


async def test_what_cannot_be_started_is_executed(autojump_clock: object) -> None:
    sky = Sky(transport := Starter(has_room=False))
    with trio.move_on_after(1):
        await sky.flight().fly()
    assert len(transport.executed) == 1
