"""Faults around a simulated transport: nothing without them, what they say with them, and the contract always."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import MpioError, TransportError, TransportGone, UsageError
from mpio_fuse.scsi.block import read, write
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status, received
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.fault_language import parse_fault
from mpio_fuse.transport.fault_set import Fault, Faults
from mpio_fuse.transport.faults import FaultTransport
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.transport.conformance import (
    HeldResetConformance,
    MediumErrorConformance,
    OfflineConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    TransportConformance,
    UnitAttentionConformance,
    VanishConformance,
)
from tests.transport.test_simulated import BAD_LBA, HOST_A, SimulatedBench

pytestmark = pytest.mark.virtual_clock

BLOCK = 512
TIMED_OUT = HostStatus.TIME_OUT


class AroundBench(SimulatedBench):
    """No fault is set; what is slow, offline or gone is the transport inside."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults()
        self.inner, self.transport = self.transport, self.around(self.transport)  # type: ignore[assignment]

    def around(self, inner: Transport) -> Transport:
        return FaultTransport(inner, self.faults)

    async def reopen(self) -> Transport:  # type: ignore[override] # any transport is one
        await trio.lowlevel.checkpoint()
        return self.around(SimulatedTransport(self.model, HOST_A))

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self.inner.link.execution_s = 1.0
        yield
        self.inner.link.heal()

    @asynccontextmanager
    async def held_resets(self) -> AsyncIterator[None]:
        self.inner.link.reset_s = 1.0
        yield
        self.inner.link.heal()

    async def set_offline(self) -> None:
        await trio.lowlevel.checkpoint()
        self.inner.link.go_down()

    async def set_running(self) -> None:
        await trio.lowlevel.checkpoint()
        self.inner.link.come_up()

    async def vanish(self) -> None:
        await trio.lowlevel.checkpoint()
        self.inner.vanish()


class ArmedBench(AroundBench):
    """Every disturbance is a fault, beside one that strikes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.faults.add(parse_fault("*: hang on=0xee"), 0.0)

    @asynccontextmanager
    async def fault(self, text: str) -> AsyncIterator[Fault]:
        await trio.lowlevel.checkpoint()
        fault = self.faults.add(parse_fault(f"sim0: {text}"), trio.current_time())
        yield fault
        self.faults.clear([fault.number])

    def slow(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - as its base
        return self.fault("delay 1s on=read,write")

    def held_resets(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - as its base
        return self.fault("delay 1s of=answer on=reset")

    async def set_offline(self) -> None:
        self.offline = self.faults.add(parse_fault("*: error no-connect"), trio.current_time())
        await trio.lowlevel.checkpoint()

    async def set_running(self) -> None:
        self.faults.clear([self.offline.number])
        await trio.lowlevel.checkpoint()

    async def vanish(self) -> None:
        self.faults.add(parse_fault("sim0: gone on=0x00"), trio.current_time())
        with pytest.raises(TransportGone):
            await self.transport.execute(test_unit_ready())

    def bad_medium(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - as its base
        return self.fault(f"error 3/11/00 on=read lba={BAD_LBA}")

    async def establish_unit_attention(self) -> None:
        await trio.lowlevel.checkpoint()
        self.faults.add(parse_fault("sim0: error 6/29/03 count=1"), trio.current_time())


class SlowAnswersBench(ArmedBench):
    """As above; what is slow are the answers."""

    def slow(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - as its base
        return self.fault("delay 1s of=answer on=read,write")


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AroundBench:
    await trio.lowlevel.checkpoint()
    made: AroundBench = request.cls.bench_class()
    return made


class All(
    TransportConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    HeldResetConformance,
    OfflineConformance,
    VanishConformance,
    MediumErrorConformance,
    UnitAttentionConformance,
):
    """The whole suite."""


class TestAroundAnother(All):
    """Without a fault it is as the one inside."""

    bench_class = AroundBench


class TestWithFaults(All):
    """What faults do is what a transport may do."""

    bench_class = ArmedBench


class TestSlowAnswers(SlowConformance, SlowResetConformance):
    """Also where the command has taken effect already."""

    bench_class = SlowAnswersBench


class Rig:
    """A faulty transport ``sim0`` to a disk, and another that sees what happened there."""

    def __init__(self) -> None:
        self.model = LogicalUnitModel()
        self.faults = Faults()
        self.inner = SimulatedTransport(self.model, HOST_A)
        self.transport = FaultTransport(self.inner, self.faults)
        self.witness = SimulatedTransport(self.model, Nexus("iqn.witness", 9), "witness")

    def set(self, text: str) -> Fault:
        return self.faults.add(parse_fault(f"sim0: {text}"), trio.current_time())

    async def byte(self, lba: int = 0) -> int:
        """What the medium has there now."""
        while not (await self.witness.execute(test_unit_ready())).is_good:
            pass
        command = read(lba, bytearray(BLOCK), BLOCK)
        return received(command, await self.witness.execute(command))[0]

    async def write(self, fill: int = 1, lba: int = 0, timeout_s: float = 30.0) -> Completion:
        return await self.transport.execute(a_write(fill, lba, timeout_s))

    async def ready(self) -> Completion:
        return await self.transport.execute(test_unit_ready())


def a_write(fill: int = 1, lba: int = 0, timeout_s: float = 30.0) -> Command:
    return write(lba, bytes([fill]) * BLOCK, BLOCK, timeout_s=timeout_s)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def abandon(send: Callable[[], Awaitable[object]]) -> None:
    """Send it and be cancelled once everything waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def end_of(send: Callable[[], Awaitable[object]], ends: list[object]) -> None:
    try:
        ends.append(await send())
    except MpioError as error:
        ends.append(error)


async def test_an_error_is_told_at_once_and_nothing_is_sent(rig: Rig) -> None:
    fault = rig.set("error 3/0c/00 on=write")
    began_s = trio.current_time()
    completion = await rig.write()
    assert (completion.status, completion.sense[2], completion.sense[12]) == (2, 3, 0x0C)
    assert completion.residual_bytes == BLOCK
    assert (trio.current_time(), await rig.byte()) == (began_s, 0)
    assert (await rig.ready()).is_good
    assert (fault.seen, fault.struck) == (1, 1)


async def test_an_error_may_take_its_time(rig: Rig) -> None:
    rig.set("error bus-busy at=3s")
    began_s = trio.current_time()
    assert (await rig.ready()).host_status == HostStatus.BUS_BUSY
    assert trio.current_time() == began_s + 3


async def test_errors_need_no_place(rig: Rig) -> None:
    """Checks are answered beside as many writes as there are places, all hung."""
    rig.set("hang on=write")
    rig.set("error busy on=test-unit-ready")
    async with trio.open_nursery() as nursery:
        for lba in range(rig.transport.max_in_flight):
            nursery.start_soon(rig.write, 1, lba)
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            assert (await rig.ready()).status == Status.BUSY
        rig.faults.clear()


async def test_a_delayed_command_lands_late(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("delay 2s on=write")
    began_s = trio.current_time()
    nursery.start_soon(rig.write, 7)
    await trio.sleep(1)
    assert await rig.byte() == 0
    assert (await rig.write(8, lba=9)).is_good
    assert trio.current_time() == began_s + 3
    assert await rig.byte() == 7


async def test_a_delayed_answer_has_taken_effect(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("delay 2s of=answer on=write")
    nursery.start_soon(rig.write, 7)
    await trio.sleep(1)
    assert await rig.byte() == 7


async def test_a_delayed_write_whose_caller_gave_up_lands_all_the_same(rig: Rig) -> None:
    """The ghost write."""
    rig.set("delay 5s on=write count=1")
    await abandon(lambda: rig.write(1))
    assert rig.transport.stranded == 1
    assert (await rig.write(2)).is_good
    assert await rig.byte() == 2
    await trio.sleep(6)
    assert (await rig.byte(), rig.transport.stranded) == (1, 0)


async def test_a_dropped_command_times_out_and_never_happens(rig: Rig) -> None:
    rig.set("drop on=write count=1")
    began_s = trio.current_time()
    completion = await rig.write(timeout_s=7.0)
    assert completion == Completion(host_status=TIMED_OUT, residual_bytes=BLOCK)
    assert trio.current_time() == began_s + 7
    await trio.sleep(3600)
    assert await rig.byte() == 0
    assert (await rig.write()).is_good


async def test_dropped_is_told_as_it_says(rig: Rig) -> None:
    rig.set("drop told=transport-disrupted at=2s")
    began_s = trio.current_time()
    assert (await rig.write()).host_status == HostStatus.TRANSPORT_DISRUPTED
    assert trio.current_time() == began_s + 2


async def test_never_told_ends_only_when_lifted(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("drop told=never on=write")
    ends: list[object] = []
    nursery.start_soon(end_of, rig.write, ends)
    await trio.sleep(3600)
    assert ends == []
    rig.faults.clear()
    await wait_all_tasks_blocked()
    assert ends == [Completion(host_status=TIMED_OUT, residual_bytes=BLOCK)]
    assert await rig.byte() == 0


async def test_a_lost_answer_leaves_the_effect(rig: Rig) -> None:
    rig.set("lose-answer on=write")
    began_s = trio.current_time()
    assert (await rig.write(5, timeout_s=3.0)).host_status == TIMED_OUT
    assert trio.current_time() == began_s + 3
    assert await rig.byte() == 5


async def test_a_lost_answer_leaves_the_buffers_alone(rig: Rig) -> None:
    """Also when the transport inside is not done with the command yet: they are the caller's again."""
    rig.inner.link.execution_s = 10.0
    rig.set("lose-answer at=1s")
    data = bytearray(b"\x05" * BLOCK)
    assert not (await rig.transport.execute(write(0, data, BLOCK))).is_good
    data[:] = bytes(BLOCK)
    data.extend(b"free")
    into = bytearray(b"\xee" * BLOCK)
    completion = await rig.transport.execute(read(0, into, BLOCK))
    assert (completion.residual_bytes, rig.transport.stranded) == (BLOCK, 0)
    await trio.sleep(60)
    assert set(into) == {0xEE}
    assert await rig.byte() == 5


async def test_hung_commands_go_on_when_lifted(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("hang on=write count=1")
    ends: list[object] = []
    nursery.start_soon(end_of, lambda: rig.write(1), ends)
    await trio.sleep(3600)
    assert (await rig.write(2)).is_good
    assert (ends, await rig.byte()) == ([], 2)
    rig.faults.clear()
    await wait_all_tasks_blocked()
    assert (ends, await rig.byte()) == ([Completion()], 1)


async def test_hung_and_given_up_is_stranded_until_lifted(rig: Rig) -> None:
    rig.set("hang")
    await abandon(lambda: rig.write(1))
    await trio.sleep(3600)
    assert rig.transport.stranded == 1
    rig.faults.clear()
    await wait_all_tasks_blocked()
    assert (rig.transport.stranded, await rig.byte()) == (0, 1)


async def test_lifted_lets_go_also_of_those_that_wait_for_a_place(rig: Rig) -> None:
    rig.set("hang on=write")
    count = rig.transport.max_in_flight + 2
    ends: list[object] = []
    async with trio.open_nursery() as nursery:
        for lba in range(count):
            nursery.start_soon(end_of, lambda lba=lba: rig.write(1, lba), ends)
        await wait_all_tasks_blocked()
        rig.faults.clear()
        with trio.move_on_after(1):
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    assert ends == [Completion()] * count


async def test_a_window_of_time(rig: Rig) -> None:
    fault = rig.set("hang from=10s until=22s")
    began_s = trio.current_time()
    assert (await rig.ready()).is_good
    await trio.sleep(12)
    assert (await rig.write(1)).is_good
    assert trio.current_time() == began_s + 22
    assert (await rig.ready()).is_good
    assert fault.struck == 1


async def test_never_told_ends_with_its_window(rig: Rig) -> None:
    rig.set("drop told=never until=5s")
    began_s = trio.current_time()
    assert (await rig.write()).host_status == TIMED_OUT
    assert trio.current_time() == began_s + 5


async def test_after_and_count(rig: Rig) -> None:
    fault = rig.set("error busy on=write after=2 count=3")
    ends = [(await rig.write()).is_good for _ in range(8)]
    assert ends == [True, True, False, False, False, True, True, True]
    assert (fault.seen, fault.struck, fault.is_spent) == (5, 3, True)


async def struck_of(rig: Rig, keys: str) -> list[int]:
    fault = rig.set(f"error busy {keys}")
    struck = [index for index in range(200) if not (await rig.ready()).is_good]
    rig.faults.clear([fault.number])
    return struck


async def test_chance_repeats_and_another_seed_differs(rig: Rig) -> None:
    struck = await struck_of(rig, "probability=25%")
    assert 25 < len(struck) < 75
    assert await struck_of(rig, "probability=25%") == struck
    assert await struck_of(rig, "probability=25% seed=1") != struck
    assert await struck_of(rig, "probability=1") == list(range(200))


async def test_the_first_fault_that_strikes_has_the_command(rig: Rig) -> None:
    rig.set("error busy count=1")
    rig.set("error task-set-full")
    assert [(await rig.ready()).status for _ in range(2)] == [Status.BUSY, Status.TASK_SET_FULL]


async def test_faults_are_of_the_underpaths_they_name(rig: Rig) -> None:
    for pattern, is_struck in (("sim1", False), ("sim", False), ("sim*", True), ("sim?", True)):
        fault = rig.faults.add(parse_fault(f"{pattern}: error busy"), 0.0)
        assert (await rig.ready()).is_good != is_struck
        rig.faults.clear([fault.number])


async def test_a_name_that_looks_like_a_pattern_is_a_name() -> None:
    faults = Faults()
    name = "iscsi://[fe80::1]/iqn.x/1"
    fault = faults.add(parse_fault(f"{name}: hang"), 0.0)
    assert faults.strike(name, test_unit_ready(), 0.0) is fault
    assert faults.strike("iscsi://f/iqn.x/1", test_unit_ready(), 0.0) is fault


async def test_gone_is_for_good_until_opened_again(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("hang on=read")
    fault = rig.set("gone on=write count=1")
    ends: list[object] = []
    nursery.start_soon(
        end_of, lambda: rig.transport.execute(read(0, bytearray(BLOCK), BLOCK)), ends
    )
    await wait_all_tasks_blocked()
    with pytest.raises(TransportGone, match=f"sim0: gone .lab: fault {fault.number}"):
        await rig.write()
    await wait_all_tasks_blocked()
    assert [type(end) for end in ends] == [TransportGone]
    rig.faults.clear([fault.number])
    with pytest.raises(TransportGone, match="sim0"):
        await rig.ready()
    assert (
        await FaultTransport(SimulatedTransport(rig.model, HOST_A), rig.faults).execute(
            test_unit_ready()
        )
    ).is_good


async def test_gone_inside_is_not_hidden_by_a_fault(rig: Rig) -> None:
    rig.inner.vanish()
    with pytest.raises(TransportGone):
        await rig.ready()
    fault = rig.set("error busy")
    with pytest.raises(TransportGone):
        await rig.ready()
    assert fault.struck == 0


async def test_closing_ends_what_hangs_and_it_is_never_sent(
    rig: Rig, nursery: trio.Nursery
) -> None:
    rig.set("hang on=write")
    ends: list[object] = []
    for _ in range(rig.transport.max_in_flight + 2):
        nursery.start_soon(end_of, rig.write, ends)
    await wait_all_tasks_blocked()
    await rig.transport.aclose()
    await wait_all_tasks_blocked()
    assert [type(end) for end in ends] == [TransportGone] * (rig.transport.max_in_flight + 2)
    assert rig.transport.stranded == 0
    rig.faults.clear()
    await wait_all_tasks_blocked()
    assert await rig.byte() == 0


async def test_closing_counts_what_is_below_once(rig: Rig, nursery: trio.Nursery) -> None:
    rig.set("delay 0s on=write")
    rig.inner.link.execution_s = 5.0
    ends: list[object] = []
    nursery.start_soon(end_of, rig.write, ends)
    await wait_all_tasks_blocked()
    await rig.transport.aclose()
    assert rig.transport.stranded == 1
    await trio.sleep(6)
    assert (rig.transport.stranded, [type(end) for end in ends]) == (0, [TransportGone])


async def test_what_nobody_could_send_is_refused_and_not_struck(rig: Rig) -> None:
    fault = rig.set("error busy")
    with pytest.raises(UsageError, match="read-only"):
        await rig.transport.execute(Command("read-only", bytes(6), data_in=memoryview(bytes(1))))
    with trio.CancelScope() as scope:
        scope.cancel()
        await rig.ready()
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await rig.transport.reset_logical_unit()
    assert scope.cancelled_caught
    assert fault.seen == 0


def rig_with_reset() -> tuple[Rig, list[float]]:
    """Resets that reach the transport inside are noted, with their time."""
    rig = Rig()
    resets: list[float] = []

    async def reset() -> None:
        await trio.lowlevel.checkpoint()
        resets.append(trio.current_time())

    rig.inner.reset_logical_unit = reset  # type: ignore[method-assign]
    return rig, resets


async def test_a_reset_that_nothing_strikes_is_passed_on() -> None:
    rig, resets = rig_with_reset()
    rig.set("error busy on=write")
    await rig.transport.reset_logical_unit()
    assert len(resets) == 1


@pytest.mark.parametrize(
    ("spec", "after_s", "is_sent"),
    [
        ("error abort", 0, False),
        ("drop at=4s", 4, False),
        ("drop", 30, False),
        ("lose-answer told=transport-disrupted at=2s", 2, True),
    ],
)
async def test_a_reset_that_is_not_confirmed(spec: str, after_s: float, *, is_sent: bool) -> None:
    rig, resets = rig_with_reset()
    rig.set(f"{spec} on=reset")
    began_s = trio.current_time()
    with pytest.raises(
        TransportError, match="sim0: LOGICAL UNIT RESET was not confirmed: host status"
    ):
        await rig.transport.reset_logical_unit()
    assert (trio.current_time() - began_s, len(resets)) == (after_s, int(is_sent))


async def test_a_reset_may_be_late_hang_or_find_nobody() -> None:
    rig, resets = rig_with_reset()
    rig.set("delay 3s on=reset count=1")
    rig.set("hang on=reset count=1 until=10s")
    rig.set("gone on=reset")
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.transport.reset_logical_unit)
        await wait_all_tasks_blocked()
        nursery.start_soon(rig.transport.reset_logical_unit)
    assert resets == [began_s + 3, began_s + 10]
    with pytest.raises(TransportGone):
        await rig.transport.reset_logical_unit()
    assert len(resets) == 2


async def test_a_reset_that_was_given_up_still_happens() -> None:
    rig, resets = rig_with_reset()
    rig.set("delay 3s on=reset")
    await abandon(rig.transport.reset_logical_unit)
    assert rig.transport.stranded == 1
    await trio.sleep(4)
    assert (len(resets), rig.transport.stranded) == (1, 0)
