"""What is left at the array when things went wrong: at the last close, at the unmount, by an earlier life."""

import errno

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.registrar import TYPE
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, MpioError, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, PER_INITIATOR, SPC, TGT, Quirks
from mpio_fuse.target.task import Answer
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.test_between import just_before, pr_in_action, pr_out_action
from tests.device.world import KEYS, Host, World, ownership_of, stamp

OLD = ReservationKey.from_int(0x01D)


async def watched(host: Host) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()


@pytest.mark.hazard(3)
@pytest.mark.parametrize("quirks", [LIO, SPC, TGT], ids=lambda one: one.name)
@pytest.mark.expects_log("underpath down")
async def test_an_underpath_that_was_dead_at_the_last_close_returns_without_registration(
    quirks: Quirks, autojump_clock: MockClock
) -> None:
    """It failed under I/O, so it does not count as one that can speak; left registered it could write for ever."""
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a", underpaths=3, standby="unregistered")
    handle = await host.device.open()
    host.links[2].go_down()
    for number in range(3):
        await handle.read(number * 4096, 4096)  # no barrier, which would remove it as well
    await handle.aclose()
    assert (world.holder, world.keys) == (None, [])
    host.links[2].come_up()
    await watched(host)
    assert world.keys == []


@pytest.mark.hazard(3)
@pytest.mark.expects_log(
    "underpath down|flush at the last close failed|procedure cut short|unregister failed"
)
async def test_after_an_outage_at_the_last_close_the_reservation_is_released(
    autojump_clock: MockClock,
) -> None:
    """The release is owed, and nobody can release without registering first."""
    world = World()
    host = await world.host("a", standby="unregistered")
    handle = await host.device.open()
    for link in host.links:
        link.go_down()
    await handle.aclose()
    for link in host.links:
        link.come_up()
    await watched(host)
    assert (world.holder, world.keys) == (None, [])


@pytest.mark.hazard(3)
@pytest.mark.expects_log("fenced")
async def test_a_fenced_hosts_returning_underpath_loses_its_registration_under_an_older_key(
    autojump_clock: MockClock,
) -> None:
    """It was away when the host was mounted with its new key."""
    world = World()
    old = pr_out.register_and_ignore_existing_key(OLD)
    world.model.execute(Nexus("iqn.host-a", 2), old.cdb, bytes(old.data_out))
    a = await world.host("a", is_down=(2,))
    b = await world.host("b")
    handle = await a.device.open()
    await b.device.open(OpenOption.FORCED_OPEN)
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))
    a.links[1].come_up()
    await watched(a)
    assert OLD not in world.keys


@pytest.mark.hazard(3)
async def test_a_standbys_returning_underpath_loses_its_registration_under_an_older_key(
    autojump_clock: MockClock,
) -> None:
    world = World()
    old = pr_out.register_and_ignore_existing_key(OLD)
    world.model.execute(Nexus("iqn.host-a", 2), old.cdb, bytes(old.data_out))
    a = await world.host("a", is_down=(2,), standby="unregistered")
    a.links[1].come_up()
    await watched(a)
    assert OLD not in world.keys


@pytest.mark.hazard(18)
async def test_unmounting_takes_the_one_registration_back_without_complaint() -> None:
    """Where the registration is the initiator's, the second REGISTER finds it gone."""
    world = World(LogicalUnitModel(PER_INITIATOR))
    host = await world.host("a")
    await host.device.remove()
    assert world.keys == []


@pytest.mark.hazard(32)
async def test_a_registration_that_happened_although_it_was_told_not_ready_counts() -> None:
    """LIO without its metadata directory says so to every REGISTER."""
    world = World()
    not_ready_although_registered(world)
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("data"))
    await handle.aclose()
    assert world.holder is None


def not_ready_although_registered(world: World) -> None:
    honest = world.model.execute
    sense = encode_sense(Sense(SenseKey.NOT_READY, 0x08, 0x00))

    def execute(nexus: Nexus, cdb: bytes, data_out: bytes = b"") -> Answer:
        answer = honest(nexus, cdb, data_out)
        is_register = cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and cdb[1] in (
            PrOut.REGISTER,
            PrOut.REGISTER_AND_IGNORE_EXISTING_KEY,
        )
        return Answer(Status.CHECK_CONDITION, sense) if answer.is_good and is_register else answer

    world.model.execute = execute  # type: ignore[method-assign]


@pytest.mark.hazard(30)
@pytest.mark.parametrize(("is_serial", "at_once"), [(False, 4), (True, 1)])
async def test_registrations_at_the_mount_go_one_at_a_time_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, *, is_serial: bool, at_once: int
) -> None:
    under_way: list[Command] = []
    most = [0]
    send = SimulatedTransport.execute

    async def execute(self: SimulatedTransport, command: Command) -> Completion:
        if command.cdb[0] != OpCode.PERSISTENT_RESERVE_OUT:
            return await send(self, command)
        under_way.append(command)
        most[0] = max(most[0], len(under_way))
        await trio.lowlevel.checkpoint()
        try:
            return await send(self, command)
        finally:
            under_way.remove(command)

    monkeypatch.setattr(SimulatedTransport, "execute", execute)
    await World().host("a", underpaths=4, serialise_registers=is_serial)
    assert most[0] == at_once


async def test_a_session_that_began_anew_does_not_keep_the_reservation_for_ever(
    autojump_clock: MockClock,
) -> None:
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a", underpaths=1, standby="unregistered")
    handle = await host.device.open()
    host.transports[0].log_in_again(isid="00023d0000ff")
    await handle.aclose()
    await watched(host)
    assert world.holder is None


async def test_another_hosts_registrations_do_not_fence_an_owner_that_registers_again(
    autojump_clock: MockClock,
) -> None:
    """They raise the generation as well; that the reservation is still ours proves that nobody has taken it."""
    world = World(LogicalUnitModel(LIO))
    a = await world.host("a", underpaths=1)
    handle = await a.device.open()
    a.device.underpaths[0].registered = False
    register_b = pr_out.register_and_ignore_existing_key(KEYS["b"])

    def as_b() -> None:
        for port in (1, 2, 3):
            nexus = Nexus("iqn.host-b", port)
            while not world.model.execute(
                nexus, register_b.cdb, bytes(register_b.data_out)
            ).is_good:
                pass

    just_before(a, pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY), as_b)
    await a.device.readmit(a.device.underpaths[0])
    await handle.write(0, stamp("still ours"))


@pytest.mark.expects_log("release postponed|underpath down")
async def test_unmounting_waits_for_answers_that_are_on_their_way(
    autojump_clock: MockClock,
) -> None:
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].answer_s = host.links[1].answer_s = 0.3
    with trio.move_on_after(0.1):
        await handle.write(0, stamp("cut off"))
    host.links[0].answer_s = host.links[1].answer_s = 0.0
    await host.device.remove()
    assert (world.holder, world.keys) == (None, [])


async def test_a_session_that_lost_its_registration_unnoticed_still_releases(
    autojump_clock: MockClock,
) -> None:
    """The old session's registration holds; the new one has none, and nobody has told so."""
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    host.transports[0].log_in_again(isid="00023d0000ff")
    world.model.state.attentions.forget_all()
    await handle.aclose()
    await watched(host)
    assert world.holder is None


async def test_the_registration_of_a_session_that_was_logged_out_is_taken_back(
    autojump_clock: MockClock,
) -> None:
    """A new session is a new nexus; the array shows that the old one's registration is this host's too."""
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a")
    host.transports[0].log_in_again(isid="00023d0000ff")
    await (await host.device.open()).aclose()
    assert world.keys.count(KEYS["a"]) == 3
    await host.device.remove()
    assert world.keys == []


@pytest.mark.expects_log("underpath down")
async def test_a_no_reserve_open_gives_nothing_up_over_writes_that_are_still_out(
    autojump_clock: MockClock,
) -> None:
    world = World(LogicalUnitModel(TGT))
    host = await world.host("a", io_timeout_s=2)
    handle = await host.device.open(OpenOption.RETAIN_RESERVATION)
    slow = host.links[1]
    slow.arrival_s, slow.times_out = 60.0, False
    for number in range(2):
        await handle.write(0, stamp(f"write {number}"))
    slow.arrival_s = 0.0
    await handle.aclose()
    with pytest.raises(OpenRefused, match="still out") as refusal:
        await host.device.open(OpenOption.NO_RESERVE)
    assert refusal.value.errno == errno.EBUSY
    assert world.holder == KEYS["a"]


async def cancelled_before_its_look(host: Host) -> None:
    """A forced open whose caller goes away when PREEMPT AND ABORT was GOOD, before it was verified."""
    preempt, look = pr_out_action(PrOut.PREEMPT_AND_ABORT), pr_in_action(PrIn.READ_KEYS)
    preempted: list[Command] = []
    caller = trio.CancelScope()

    def is_look_after_preempt(command: Command) -> bool:
        preempted.extend([command] if preempt(command) else [])
        return bool(preempted) and look(command)

    just_before(host, is_look_after_preempt, caller.cancel)
    for link in host.links:
        link.answer_s = 0.001  # so that it is under way when it is cancelled
    with caller:
        await host.device.open(OpenOption.FORCED_OPEN)
    assert caller.cancelled_caught
    for link in host.links:
        link.heal()


async def test_a_forced_open_that_is_cancelled_before_it_is_verified_gives_the_disk_back(
    autojump_clock: MockClock,
) -> None:
    """What was read last is from before the preempt: another's, as if there were nothing to give back."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await b.device.open()
    await cancelled_before_its_look(a)
    assert world.holder == KEYS["a"]
    await watched(a)
    assert world.holder is None


async def test_what_a_cancelled_open_reserves_late_is_given_back(autojump_clock: MockClock) -> None:
    """A look that comes before the array has done the RESERVE sees nobody, and that is not the end of it."""
    world = World()
    host = await world.host("a")
    is_reserve, execute = pr_out_action(PrOut.RESERVE), host.transports[0].execute

    async def late(command: Command) -> Completion:
        host.links[0].execution_s = 8.0 if is_reserve(command) else 0.0
        return await execute(command)

    host.transports[0].execute = late  # type: ignore[method-assign]
    with trio.move_on_after(1):
        await host.device.open()
    host.links[0].heal()
    await trio.sleep(1)
    await host.device.look()
    await trio.sleep(8)
    assert world.holder == KEYS["a"]
    await watched(host)
    assert world.holder is None


async def test_a_reservation_retained_before_another_host_took_it_is_not_what_a_cancelled_open_took(
    autojump_clock: MockClock,
) -> None:
    """That one is nobody's: nobody asked to retain it."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await (await a.device.open(OpenOption.RETAIN_RESERVATION)).aclose()
    await b.device.open(OpenOption.FORCED_OPEN)
    await cancelled_before_its_look(a)
    assert world.holder == KEYS["a"]
    await watched(a)
    assert world.holder is None


@pytest.mark.expects_log("underpath down")
async def test_unmounting_finds_a_registration_that_nobody_counts_behind_one_that_is_gone(
    autojump_clock: MockClock,
) -> None:
    """Preempted, one underpath was registered again and its answer lost; the other still counts as registered."""
    world = World()
    host = await world.host("a")
    preempted_by_b(world)
    register = pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY)
    host.links[0].lose_answers(None, register, after_s=0.01)
    first, second = host.device.underpaths
    assert not await ownership_of(host).readmit(first)
    host.links[0].heal()
    assert (first.registered, second.registered) == (False, True)
    assert world.keys == [KEYS["b"], KEYS["a"]]
    await host.device.remove()
    assert world.keys == [KEYS["b"]]


def preempted_by_b(world: World) -> None:
    nexus = Nexus("iqn.host-b", 1)
    for command in (
        pr_out.register_and_ignore_existing_key(KEYS["b"]),
        pr_out.preempt_and_abort(KEYS["b"], KEYS["a"], TYPE),
    ):
        assert world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good


@pytest.mark.hazard(4)
async def test_unmounting_leaves_alone_what_another_host_has_registered_under_the_same_key(
    autojump_clock: MockClock,
) -> None:
    """It came later.  All underpaths here have taken theirs back, so what is left is none of theirs."""
    world = World()
    host = await world.host("a")
    register = pr_out.register_and_ignore_existing_key(KEYS["a"])
    world.model.execute(Nexus("iqn.other", 1), register.cdb, bytes(register.data_out))
    with pytest.raises(MpioError, match="still registered, 1 times"):
        await host.device.remove()
    assert world.keys == [KEYS["a"]]
