"""The simulated transport: what every transport must do, and the faults that only it can show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import TransportError, TransportGone
from mpio_fuse.scsi import pr_in, pr_out, reserve6
from mpio_fuse.scsi.block import read, write
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status, received
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, SCSI_DEBUG, SPC, TGT, Quirks
from mpio_fuse.transport.simulated import SimulatedTransport, StartingSimulatedTransport
from tests.transport.by_starting import by_starting
from tests.transport.conformance import (
    HeldResetConformance,
    MediumErrorConformance,
    OfflineConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    StartedCommand,
    StartingConformance,
    TransportConformance,
    UnitAttentionConformance,
    VanishConformance,
)

pytestmark = pytest.mark.virtual_clock

BLOCK = 512
BAD_LBA = 0x1234
HOST_A = Nexus("iqn.host-a", 1)
HOST_B = Nexus("iqn.host-b", 1)
KEY_A = ReservationKey.from_int(0xA1)
KEY_B = ReservationKey.from_int(0xB1)
TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


class CountingModel(LogicalUnitModel):
    """It counts the resets."""

    resets = 0

    def lun_reset(self, issuer: Nexus | None = None) -> None:
        self.resets += 1
        super().lun_reset(issuer)


class SimulatedBench:
    """One nexus to a disk of 64 MiB."""

    bad_lba = BAD_LBA

    def __init__(self, kind: type[SimulatedTransport] = SimulatedTransport) -> None:
        self.model = CountingModel()
        self.transport = kind(self.model, HOST_A)
        self.block_size_bytes = BLOCK
        self.last_lba = self.model.medium.blocks - 1

    async def reopen(self) -> SimulatedTransport:
        await trio.lowlevel.checkpoint()
        return SimulatedTransport(self.model, HOST_A)

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self.transport.link.execution_s = 1.0
        yield
        self.transport.link.heal()

    @property
    def resets(self) -> int:
        return self.model.resets

    @asynccontextmanager
    async def held_resets(self) -> AsyncIterator[None]:
        self.transport.link.reset_s = 1.0
        yield
        self.transport.link.heal()

    async def set_offline(self) -> None:
        await trio.lowlevel.checkpoint()
        self.transport.link.go_down()

    async def set_running(self) -> None:
        await trio.lowlevel.checkpoint()
        self.transport.link.come_up()

    async def vanish(self) -> None:
        await trio.lowlevel.checkpoint()
        self.transport.vanish()

    @asynccontextmanager
    async def bad_medium(self) -> AsyncIterator[None]:
        self.model.medium.bad_blocks.add(BAD_LBA)
        yield
        self.model.medium.bad_blocks.clear()

    async def establish_unit_attention(self) -> None:
        await trio.lowlevel.checkpoint()
        self.model.lun_reset()


@pytest.fixture
async def bench() -> SimulatedBench:
    await trio.lowlevel.checkpoint()
    return SimulatedBench()


class TestSimulated(
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
    """The suite's benches are one here."""


class TestStarting(StartingConformance):
    @pytest.fixture
    async def bench(self) -> SimulatedBench:
        await trio.lowlevel.checkpoint()
        return SimulatedBench(StartingSimulatedTransport)


class TestByStarting(
    TransportConformance,
    SlowConformance,
    OfflineConformance,
    VanishConformance,
    MediumErrorConformance,
    UnitAttentionConformance,
):
    """Every command is started."""

    @pytest.fixture
    async def bench(self) -> SimulatedBench:
        return await by_starting(SimulatedBench(StartingSimulatedTransport))


class TwoHosts:
    """Two hosts with one underpath each, both registered, A holding."""

    def __init__(self, quirks: Quirks) -> None:
        self.model = LogicalUnitModel(quirks)
        self.a = SimulatedTransport(self.model, HOST_A, "sim-a1")
        self.b = SimulatedTransport(self.model, HOST_B, "sim-b1")

    async def take(self) -> "TwoHosts":
        for transport, key in ((self.a, KEY_A), (self.b, KEY_B)):
            await clear_attentions(transport)
            register = pr_out.register_and_ignore_existing_key(key)
            assert (await transport.execute(register)).is_good
        assert (await self.a.execute(pr_out.reserve(KEY_A, TYPE))).is_good
        return self


async def clear_attentions(transport: SimulatedTransport) -> None:
    while not (await transport.execute(test_unit_ready())).is_good:
        pass


async def hosts(quirks: Quirks = LIO) -> TwoHosts:
    return await TwoHosts(quirks).take()


def a_write(fill: int = 1, timeout_s: float = 30.0, lba: int = 0) -> Command:
    return write(lba, bytes([fill]) * BLOCK, BLOCK, timeout_s=timeout_s)


async def first_byte(transport: SimulatedTransport) -> int:
    command = read(0, bytearray(BLOCK), BLOCK)
    completion = await transport.execute(command)
    assert completion.is_good, completion
    return received(command, completion)[0]


async def test_a_lost_command_takes_no_effect_and_times_out() -> None:
    two = await hosts()
    two.a.link.lose_commands()
    began = trio.current_time()
    completion = await two.a.execute(a_write(timeout_s=7.0))
    assert completion == Completion(host_status=HostStatus.TIME_OUT)
    assert trio.current_time() == began + 7.0
    assert await first_byte(two.a) == 0


async def test_a_lost_answer_leaves_the_effect() -> None:
    two = await hosts()
    two.a.link.lose_answers(host_status=HostStatus.TRANSPORT_DISRUPTED, after_s=3.0)
    began = trio.current_time()
    completion = await two.a.execute(a_write(5))
    assert completion.host_status == HostStatus.TRANSPORT_DISRUPTED
    assert trio.current_time() == began + 3.0
    assert await first_byte(two.a) == 5


async def test_only_matching_commands_are_lost() -> None:
    two = await hosts()
    two.a.link.lose_commands(None, lambda command: command.name.startswith("WRITE"))
    assert (await two.a.execute(test_unit_ready())).is_good
    assert (await two.a.execute(a_write())).host_status == HostStatus.TIME_OUT
    assert (await two.a.execute(a_write())).host_status == HostStatus.TIME_OUT
    two.a.link.heal()
    assert (await two.a.execute(a_write())).is_good


async def test_preempt_whose_answer_was_lost_conflicts_when_repeated() -> None:
    """It worked the first time."""
    two = await hosts()
    two.b.link.lose_answers()
    preempt = pr_out.preempt_and_abort(KEY_B, KEY_A, TYPE)
    assert (await two.b.execute(preempt)).host_status == HostStatus.TIME_OUT
    assert (await two.b.execute(preempt)).status == Status.RESERVATION_CONFLICT


async def test_a_write_given_up_lands_after_its_retry() -> None:
    """The ghost write."""
    two = await hosts()
    path = SimulatedTransport(two.model, Nexus("iqn.host-a", 2), "sim-a2")
    register = pr_out.register_and_ignore_existing_key(KEY_A)
    assert (await path.execute(register)).is_good
    two.a.link.arrival_s = 5.0
    assert (await two.a.execute(a_write(1, timeout_s=1.0))).host_status == HostStatus.TIME_OUT
    assert (await path.execute(a_write(2))).is_good
    assert await first_byte(path) == 2
    await trio.sleep(10)
    assert await first_byte(path) == 1


@pytest.mark.parametrize(
    ("quirks", "lands"), [(SPC, False), (LIO, True)], ids=["stopped", "waited for"]
)
async def test_preempt_and_abort_ends_what_is_in_flight(
    nursery: trio.Nursery, quirks: Quirks, *, lands: bool
) -> None:
    """Measured on LIO: the victim's write got 40h, and PREEMPT AND ABORT waited for it."""
    two = await hosts(quirks)
    two.a.link.execution_s = 3.0
    ends: list[Completion] = []

    async def victim() -> None:
        ends.append(await two.a.execute(a_write(7)))

    nursery.start_soon(victim)
    await trio.sleep(1)
    assert (await two.b.execute(pr_out.preempt_and_abort(KEY_B, KEY_A, TYPE))).is_good
    await wait_all_tasks_blocked()
    assert [end.status for end in ends] == [Status.TASK_ABORTED]
    after = await first_byte(two.b)
    assert (after == 7) == lands
    await trio.sleep(10)
    assert await first_byte(two.b) == after


async def test_preempt_leaves_what_is_in_flight(nursery: trio.Nursery) -> None:
    """Measured on LIO: the victim's write completed GOOD 2.3 s after PREEMPT had returned."""
    two = await hosts()
    two.a.link.execution_s = 3.0
    ends: list[Completion] = []

    async def victim() -> None:
        ends.append(await two.a.execute(a_write(7)))

    nursery.start_soon(victim)
    await trio.sleep(1)
    assert (await two.b.execute(pr_out.preempt(KEY_B, KEY_A, TYPE))).is_good
    assert await first_byte(two.b) == 0
    await trio.sleep(3)
    assert [end.status for end in ends] == [Status.GOOD]
    assert await first_byte(two.b) == 7


async def test_a_link_that_goes_down_interrupts_what_is_under_way(nursery: trio.Nursery) -> None:
    two = await hosts()
    two.a.link.arrival_s = 2.0
    ends: list[Completion] = []

    async def one() -> None:
        ends.append(await two.a.execute(a_write(9)))

    nursery.start_soon(one)
    await trio.sleep(1)
    two.a.link.go_down()
    assert (await two.a.execute(a_write())).host_status == HostStatus.NO_CONNECT
    await trio.sleep(2)
    assert [end.host_status for end in ends] == [HostStatus.TRANSPORT_DISRUPTED]
    two.a.link.heal()
    assert await first_byte(two.a) == 0


async def test_a_hung_command_ends_only_with_the_transport(nursery: trio.Nursery) -> None:
    """The caller can be cancelled, the command cannot."""
    two = await hosts()
    two.a.link.times_out = False
    two.a.link.lose_commands(None)
    with trio.move_on_after(3600) as scope:
        await two.a.execute(test_unit_ready())
    assert scope.cancelled_caught
    assert two.a.stranded == 1
    ends: list[str] = []

    async def hangs() -> None:
        with pytest.raises(TransportGone, match="sim-a1"):
            await two.a.execute(test_unit_ready())
        ends.append("gone")

    nursery.start_soon(hangs)
    await trio.sleep(3600)
    assert ends == []
    await two.a.aclose()
    await wait_all_tasks_blocked()
    assert ends == ["gone"]


@pytest.mark.parametrize(("quirks", "is_kept"), [(LIO, True), (TGT, False)], ids=["LIO", "tgt"])
async def test_a_new_session_and_its_registration(quirks: Quirks, *, is_kept: bool) -> None:
    """Kept where name and ISID are the same, a stranger on tgt; the old key stays listed either way."""
    two = await hosts(quirks)
    two.a.log_in_again()
    await clear_attentions(two.a)
    completion = await two.a.execute(read(0, bytearray(BLOCK), BLOCK))
    assert completion.is_good == is_kept
    command = pr_in.read_keys()
    keys = pr_in.decode_keys(received(command, await two.a.execute(command))).keys
    assert keys == (KEY_A, KEY_B)


async def test_commands_of_an_ended_session_never_land(nursery: trio.Nursery) -> None:
    two = await hosts()
    two.a.link.execution_s = 2.0
    ends: list[Completion] = []

    async def one() -> None:
        ends.append(await two.a.execute(a_write(9)))

    nursery.start_soon(one)
    await trio.sleep(1)
    two.a.log_in_again()
    two.a.link.heal()
    await trio.sleep(60)
    assert [end.host_status for end in ends] == [HostStatus.TRANSPORT_DISRUPTED]
    assert await first_byte(two.a) == 0


async def test_what_waits_for_a_slot_goes_in_order() -> None:
    model = LogicalUnitModel()
    transport = SimulatedTransport(model, HOST_A, max_in_flight=1)
    transport.link.execution_s = 1.0
    async with trio.open_nursery() as nursery:
        for lba in range(5):
            nursery.start_soon(transport.execute, a_write(lba=lba))
            await wait_all_tasks_blocked()
    assert [access.lba for access in model.medium.writes] == [0, 1, 2, 3, 4]


async def host_a_writes(nursery: trio.Nursery, two: TwoHosts, ends: list[Completion]) -> None:
    """A write of A that is in the target for an hour."""
    two.a.link.execution_s = 3600.0

    async def victim() -> None:
        ends.append(await two.a.execute(a_write(7, timeout_s=7200)))

    nursery.start_soon(victim)
    await trio.sleep(1)


async def pending(transport: SimulatedTransport) -> tuple[int, int] | None:
    """The unit attention that waits here, which this takes away."""
    completion = await transport.execute(test_unit_ready())
    return None if completion.is_good else (completion.sense[12], completion.sense[13])


@pytest.mark.parametrize(
    ("quirks", "lands"), [(SPC, False), (LIO, True)], ids=["stopped", "waited for"]
)
async def test_a_reset_ends_what_another_host_has_in_flight(
    nursery: trio.Nursery, quirks: Quirks, *, lands: bool
) -> None:
    """Measured on LIO: 29/03 on all nexuses, registrations and reservation kept."""
    two, ends = await hosts(quirks), list[Completion]()
    await clear_attentions(two.b)
    await host_a_writes(nursery, two, ends)
    await two.b.reset_logical_unit()
    await wait_all_tasks_blocked()
    assert [end.status for end in ends] == [Status.TASK_ABORTED]
    two.a.link.heal()
    assert [await pending(two.a), await pending(two.b)] == [(0x29, 0x03), (0x29, 0x03)]
    assert two.model.persistent.holder is not None
    assert two.model.persistent.holder.key == KEY_A
    assert (await first_byte(two.b) == 7) == lands
    await trio.sleep(7200)
    assert (await first_byte(two.b) == 7) == lands


async def test_ones_own_commands_end_with_the_confirmation(nursery: trio.Nursery) -> None:
    """Nobody answers them; the initiator knows that nobody will."""
    two, ends = await hosts(SPC), list[Completion]()
    await host_a_writes(nursery, two, ends)
    two.a.link.reset_s = 5.0
    nursery.start_soon(two.a.reset_logical_unit)
    await trio.sleep(4)
    assert ends == []
    await trio.sleep(2)
    assert ends == [Completion(host_status=HostStatus.ERROR)]


async def test_a_reset_whose_confirmation_is_lost_happened(nursery: trio.Nursery) -> None:
    two, ends = await hosts(SPC), list[Completion]()
    await host_a_writes(nursery, two, ends)
    two.a.link.lose_confirmations()
    began = trio.current_time()
    with pytest.raises(TransportError, match=r"sim-a1: .*not confirmed: nobody answered; "):
        await two.a.reset_logical_unit()
    assert trio.current_time() == began + two.a.link.reset_timeout_s
    assert two.model.pending_attentions(HOST_B) == ((0x29, 0x03),)
    assert ends == [], "the initiator does not know that its command was dropped"
    await trio.sleep(7200)
    assert ends == [Completion(host_status=HostStatus.TIME_OUT)]


async def test_a_lost_reset_takes_no_effect() -> None:
    two = await hosts(SPC)
    two.a.link.lose_resets(after_s=3.0)
    began = trio.current_time()
    with pytest.raises(TransportError, match="nobody answered"):
        await two.a.reset_logical_unit()
    assert trio.current_time() == began + 3.0
    assert two.model.pending_attentions(HOST_B) == ()
    await two.a.reset_logical_unit()
    assert two.model.pending_attentions(HOST_B) == ((0x29, 0x03),)


async def test_a_reset_that_is_refused() -> None:
    two = await hosts(SPC)
    two.a.link.takes_resets = False
    with pytest.raises(TransportError, match="not supported"):
        await two.a.reset_logical_unit()
    two.a.link.takes_resets = True
    two.a.link.go_down()
    with pytest.raises(TransportError, match="the link is down"):
        await two.a.reset_logical_unit()
    assert two.model.pending_attentions(HOST_B) == ()


@pytest.mark.parametrize(("cut_after_s", "happened"), [(1, False), (3, True)])
async def test_a_link_that_goes_down_under_a_reset(
    nursery: trio.Nursery, cut_after_s: float, *, happened: bool
) -> None:
    """On its way there it is lost, on its way back only the confirmation is."""
    two = await hosts(SPC)
    two.a.link.arrival_s = two.a.link.answer_s = 2.0
    errors: list[TransportError] = []

    async def one() -> None:
        with pytest.raises(TransportError, match="the link went down") as raised:
            await two.a.reset_logical_unit()
        errors.append(raised.value)

    nursery.start_soon(one)
    await trio.sleep(cut_after_s)
    two.a.link.go_down()
    await trio.sleep(4)
    assert len(errors) == 1
    assert bool(two.model.pending_attentions(HOST_B)) == happened


async def test_a_hung_reset_holds_up_the_next_for_ever() -> None:
    two = await hosts(SPC)
    two.a.link.times_out = False
    two.a.link.lose_resets()
    for _ in range(2):
        with trio.move_on_after(3600) as scope:
            await two.a.reset_logical_unit()
        assert scope.cancelled_caught
        assert two.a.stranded == 1
    assert two.model.pending_attentions(HOST_B) == ()


async def test_what_arrives_after_a_reset_is_not_over() -> None:
    """Of the writes that an underpath still carries one meets the unit attention, the rest land."""
    two = await hosts(SPC)
    two.a.link.arrival_s = 5.0
    for fill in (1, 2):
        given_up = await two.a.execute(a_write(fill, timeout_s=1.0))
        assert given_up.host_status == HostStatus.TIME_OUT
    await two.b.reset_logical_unit()
    await clear_attentions(two.b)
    await trio.sleep(10)
    assert [access.data[0] for access in two.model.medium.writes] == [2]
    assert await first_byte(two.b) == 2


async def test_a_reset_ends_a_scsi_2_reservation() -> None:
    model = LogicalUnitModel(SPC)
    a, b = SimulatedTransport(model, HOST_A), SimulatedTransport(model, HOST_B)
    assert (await a.execute(reserve6.reserve6())).is_good
    assert (await b.execute(a_write())).status == Status.RESERVATION_CONFLICT
    await b.reset_logical_unit()
    await clear_attentions(b)
    assert (await b.execute(a_write())).is_good


@pytest.mark.parametrize("quirks", [TGT, SCSI_DEBUG], ids=["tgt", "scsi_debug"])
async def test_commands_that_a_reset_does_not_drop_are_answered(
    nursery: trio.Nursery, quirks: Quirks
) -> None:
    model, ends = LogicalUnitModel(quirks), list[Completion]()
    transport = SimulatedTransport(model, HOST_A)
    await clear_attentions(transport)
    transport.link.execution_s = 3.0

    async def one() -> None:
        ends.append(await transport.execute(a_write(7)))

    nursery.start_soon(one)
    await trio.sleep(1)
    await transport.reset_logical_unit()
    await trio.sleep(5)
    assert ends == [Completion()]


async def test_what_loses_its_answer_is_given_back_only_after_it_has_arrived(
    autojump_clock: object,
) -> None:
    """Else it would reach the target later, and nobody could stop it."""
    model = LogicalUnitModel()
    transport = SimulatedTransport(model, HOST_A)
    transport.link.arrival_s = 5.0
    transport.link.lose_answers(after_s=0.1)
    started_s = trio.current_time()
    completion = await transport.execute(write(0, bytes(BLOCK), BLOCK))
    assert completion.host_status == HostStatus.TIME_OUT
    assert trio.current_time() - started_s == pytest.approx(5.0)
    assert len(model.medium.history) == 1


async def test_a_link_that_heals_gives_nothing_back_that_was_to_hang(
    autojump_clock: object,
) -> None:
    """Whether it hangs is decided when it is sent."""
    model = LogicalUnitModel()
    transport = StartingSimulatedTransport(model, HOST_A)
    transport.link.arrival_s, transport.link.times_out = 5.0, False
    began_s = trio.current_time()
    one = StartedCommand(transport, write(0, bytes(BLOCK), BLOCK, timeout_s=1.0))
    transport.link.heal()
    transport.link.times_out = True
    assert (await one.completion()).is_good
    assert trio.current_time() - began_s == pytest.approx(5.0)
    assert len(model.medium.history) == 1
