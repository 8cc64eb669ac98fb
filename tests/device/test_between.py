"""What happens between two of our commands: another host acts, a node changes disks, an answer is odd.

The array is made to act at a chosen moment: when a given command of ours is about to be sent (`just_before`).
"""

import contextlib
import errno
from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.registrar import TYPE
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, MpioError, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ZERO_KEY
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import SPC, TGT
from mpio_fuse.target.refusal import Ending
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.world import KEYS, Host, World, stamp

Matches = Callable[[Command], bool]


def pr_out_action(action: PrOut) -> Matches:
    return lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and one.cdb[1] == action


def pr_in_action(action: PrIn) -> Matches:
    return lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_IN and one.cdb[1] == action


def just_before(host: Host, matches: Matches, act: Callable[[], None], *, skip: int = 0) -> None:
    """Act once, when the host is about to send the command that matches (after ``skip`` others)."""
    waiting = [skip]

    def look(command: Command) -> bool:
        if waiting and matches(command):
            waiting[0] -= 1
            if waiting[0] < 0:
                waiting.clear()
                act()
        return False

    for link in host.links:
        link.lose_commands(None, look)


def taken_by_b(world: World, *, then_released: bool = False) -> Callable[[], None]:
    """Another host preempts a's key, and gives the disk back when asked to."""
    nexus = Nexus("iqn.host-b", 1)

    def act() -> None:
        commands = [
            pr_out.register_and_ignore_existing_key(KEYS["b"]),
            pr_out.preempt_and_abort(KEYS["b"], KEYS["a"], TYPE),
        ]
        if then_released:
            commands.append(pr_out.release(KEYS["b"], TYPE))
        for command in commands:
            while not world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good:
                pass  # unit attentions

    return act


def writes_by(world: World, host: Host) -> list[bytes]:
    nexuses = {one.nexus for one in host.transports}
    history = world.model.medium.history
    return [one.data[:8] for one in history if one.kind is Kind.WRITE and one.nexus in nexuses]


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
async def test_taken_and_given_back_the_disk_is_not_the_old_handles_any_more() -> None:
    """Nobody holds it now, so a new open succeeds; but what the old handle knew of the disk is over."""
    world = World()
    host = await world.host("a")
    old = await host.device.open()
    taken_by_b(world, then_released=True)()
    new = await host.device.open()
    await new.write(0, stamp("new"))
    with pytest.raises(Fenced):
        await old.write(0, stamp("old"))


@pytest.mark.expects_log("fenced")
async def test_preempted_between_the_look_and_the_registration_of_a_second_open(
    autojump_clock: MockClock,
) -> None:
    """While the second open registers, the array would let the first handle's writes in: none is sent."""
    world = World()
    host = await world.host("a")
    old = await host.device.open()
    just_before(host, lambda one: one.cdb[0] == OpCode.INQUIRY, taken_by_b(world))
    for link in host.links:
        link.answer_s = 0.05

    async def keep_writing() -> None:
        with contextlib.suppress(Fenced):
            while True:
                await old.write(0, stamp("old"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing)
        await trio.sleep(0.2)
        before = len(writes_by(world, host))
        with pytest.raises(OpenRefused) as refusal:
            await host.device.open()
    assert refusal.value.errno == errno.EIO
    assert before
    step = min(
        one.step
        for one in world.model.log
        if one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and one.cdb[1] == PrOut.PREEMPT_AND_ABORT
    )
    late = [one for one in world.model.medium.history if one.kind is Kind.WRITE and one.step > step]
    assert late == []


@pytest.mark.expects_log("fenced")
async def test_preempted_between_the_reservation_and_its_verification() -> None:
    world = World()
    host = await world.host("a")
    just_before(host, pr_in_action(PrIn.READ_KEYS), taken_by_b(world), skip=2)
    with pytest.raises(OpenRefused):
        await host.device.open()
    assert world.holder == KEYS["b"]


@pytest.mark.hazard(2, 14)
@pytest.mark.expects_log("fenced")
@pytest.mark.parametrize("skip", [0, 1], ids=["before the first look", "after the first look"])
async def test_preempted_while_a_lost_registration_is_renewed(skip: int) -> None:
    """Read, register, read again, and undo it."""
    world = World(LogicalUnitModel(TGT))
    host = await world.host("a")
    handle = await host.device.open()
    host.transports[0].log_in_again()
    host.transports[1].log_in_again()  # tgt forgets registrations with the session
    just_before(
        host, pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY), taken_by_b_on_tgt(world)
    ) if skip else taken_by_b_on_tgt(world)()
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))
    assert writes_by(world, host) == []
    live = {one.nexus for one in host.transports}
    assert not [nexus for nexus in live if world.model.persistent.of(nexus)]


def taken_by_b_on_tgt(world: World) -> Callable[[], None]:
    """As `taken_by_b`, on an array that has no PREEMPT AND ABORT."""
    nexus = Nexus("iqn.host-b", 1)

    def act() -> None:
        for command in (
            pr_out.register_and_ignore_existing_key(KEYS["b"]),
            pr_out.preempt(KEYS["b"], KEYS["a"], TYPE),
        ):
            while not world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good:
                pass

    return act


@pytest.mark.expects_log("fenced")
async def test_released_behind_our_back_the_handle_is_fenced() -> None:
    """Our keys are all there, but nobody holds the disk: another host could take it any moment."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    release = pr_out.release(KEYS["a"], TYPE)
    assert world.model.execute(host.nexus(0), release.cdb, bytes(release.data_out)).is_good
    with contextlib.suppress(Fenced):
        await handle.write(0, stamp("the unit attention is on the other nexus only"))
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))


@pytest.mark.expects_log("fenced")
async def test_a_shared_open_is_fenced_once_its_registrations_are_preempted() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open(OpenOption.NO_RESERVE)
    taken_by_b(world, then_released=True)()
    assert world.holder is None
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))


@pytest.mark.hazard(29)
async def test_our_key_under_another_type_is_not_our_reservation() -> None:
    """Write Exclusive would let every other host read on, and this one's other underpaths not write."""
    world = World()
    host = await world.host("a")
    reserve = pr_out.reserve(KEYS["a"], PrType.WRITE_EXCLUSIVE)
    assert world.model.execute(host.nexus(0), reserve.cdb, bytes(reserve.data_out)).is_good
    with pytest.raises(OpenRefused, match="Write Exclusive"):
        await host.device.open()


async def test_an_all_registrants_reservation_is_somebody_elses_although_its_key_reads_zero() -> (
    None
):
    world = World()
    host = await world.host("a")
    other = Nexus("iqn.host-b", 1)
    for command in (
        pr_out.register(ZERO_KEY, KEYS["b"]),
        pr_out.reserve(KEYS["b"], PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS),
    ):
        assert world.model.execute(other, command.cdb, bytes(command.data_out)).is_good
    with pytest.raises(OpenRefused, match="all registrants"):
        await host.device.open()


@pytest.mark.hazard(8)
@pytest.mark.expects_log("underpath removed")
async def test_another_disk_behind_a_node_is_found_at_the_next_open() -> None:
    """After a rescan the same node name may be another disk."""
    world, other = World(), LogicalUnitModel(serial="another")
    host = await world.host("a")
    swap_disk(host.transports[0], other)
    handle = await host.device.open()
    for number in range(4):
        await handle.write(number * 4096, stamp("right disk"))
    assert host.device.underpaths[0].state is UnderpathState.REMOVED
    assert not other.medium.history
    assert other.persistent.of(host.nexus(0)) is None


@pytest.mark.hazard(8)
@pytest.mark.expects_log("underpath removed")
async def test_another_disk_behind_a_node_is_found_after_a_reset() -> None:
    """Unit attention 29/xx says that the device may have been replaced."""
    world, other = World(), LogicalUnitModel(serial="another")
    host = await world.host("a")
    handle = await host.device.open()
    swap_disk(host.transports[0], other)
    other.lun_reset()
    for number in range(4):
        await handle.write(number * 4096, stamp("right disk"))
    assert host.device.underpaths[0].state is UnderpathState.REMOVED
    assert not other.medium.history


def swap_disk(transport: SimulatedTransport, other: LogicalUnitModel) -> None:
    transport.model = other
    other.attach(transport.nexus)


@pytest.mark.expects_log("underpath removed")
async def test_a_vanished_node_is_removed_and_the_rest_goes_on() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.transports[0].vanish()
    for number in range(4):
        await handle.write(number * 4096, stamp(str(number)))
    assert host.device.underpaths[0].state is UnderpathState.REMOVED
    await handle.aclose()
    await (await host.device.open()).aclose()
    assert host.device.underpaths[0].state is UnderpathState.REMOVED


@pytest.mark.expects_log("underpath down")
async def test_an_open_does_not_register_an_underpath_with_a_command_still_out(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    host.links[0].arrival_s = 600.0
    host.links[0].times_out = False
    await handle.write(0, stamp("old"))
    await handle.write(0, stamp("new"))
    host.links[0].arrival_s = 0.0
    second = await host.device.open()
    assert world.keys == [KEYS["a"]]
    await trio.sleep(1000)
    assert bytes(await second.read(0, 4096)) == stamp("new")
    assert writes_by(world, host)[-1:] == [stamp("new")[:8]]


@pytest.mark.hazard(7, 12, 13)
@pytest.mark.expects_log("underpath down")
async def test_a_reservation_of_a_dead_underpath_is_released_and_the_others_stay_registered() -> (
    None
):
    world = World()
    host = await world.host("a", underpaths=3)
    handle = await host.device.open()
    host.links[0].go_down()
    for number in range(3):
        await handle.read(number * 4096, 4096)  # no barrier: nothing was written
    await handle.aclose()
    assert world.holder is None
    assert world.keys == [KEYS["a"]] * 2


@pytest.mark.expects_log("underpath down")
async def test_one_release_is_enough_when_the_holder_is_known() -> None:
    world = World()
    host = await world.host("a", underpaths=3)
    host.links[0].go_down()
    handle = await host.device.open()
    host.links[0].come_up()
    await (await host.device.open()).aclose()
    world.model.log.clear()
    await handle.aclose()
    assert [one for one in world.sent(host) if "RELEASE" in one] == ["a2 RELEASE"]


@pytest.mark.expects_log("underpath down")
async def test_a_registration_that_fails_once_is_tried_once_more() -> None:
    world = World()
    host = await world.host("a")
    host.links[0].lose_commands(
        1,
        pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY),
        host_status=HostStatus.ERROR,
        after_s=0,
    )
    await host.device.open()
    assert all(one.is_usable for one in host.device.underpaths)


async def test_good_without_all_the_data_is_not_good() -> None:
    """A transfer that stopped short must not become zeros in somebody's file."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("whole"))
    cut_short(host.transports[0])
    for _ in range(4):
        assert bytes(await handle.read(0, 4096)) == stamp("whole")
    cut_short(host.transports[1])
    with pytest.raises(MpioError):
        await handle.read(0, 4096)


def cut_short(transport: SimulatedTransport) -> None:
    """From now on reads come without their last 512 bytes, and with GOOD."""
    whole = transport.execute

    async def execute(command: Command) -> Completion:
        completion = await whole(command)
        if command.data_in is not None and command.cdb[0] == OpCode.READ_10:
            command.data_in[-512:] = bytes(512)
            return attrs.evolve(completion, residual_bytes=512)
        return completion

    transport.execute = execute  # type: ignore[method-assign]  # a fault the link cannot make


async def test_a_write_that_the_array_lost_afterwards_fails_the_next_flush_once() -> None:
    """A deferred error is about an earlier write, which had been answered GOOD."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    sense = encode_sense(Sense(SenseKey.MEDIUM_ERROR, 0x0C, 0x00, is_deferred=True))
    world.model.interfere(Ending(Status.CHECK_CONDITION, sense), opcode=OpCode.WRITE_10)
    await handle.write(0, stamp("taken"))
    with pytest.raises(MpioError, match="lost data that it had accepted"):
        await handle.flush()
    await handle.flush()


@pytest.mark.hazard(16)
async def test_many_unit_attentions_in_a_row_are_only_many() -> None:
    world = World(LogicalUnitModel(TGT))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    for _ in range(8):
        world.model.lun_reset()
    await handle.write(0, stamp("through"))


@pytest.mark.expects_log("fenced")
async def test_a_notice_is_kept_while_nobody_can_look() -> None:
    """The unit attention was the only notice; the look after it fails, and the next write must not go out."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    taken_by_b(world, then_released=True)()
    for link in host.links:
        link.lose_commands(1, pr_in_action(PrIn.READ_KEYS), after_s=0)
    with pytest.raises(MpioError):
        await handle.write(0, stamp("one"))
    with pytest.raises(Fenced):
        await handle.write(0, stamp("two"))
    assert writes_by(world, host) == []


@pytest.mark.expects_log("underpath down")
async def test_an_error_given_to_the_caller_does_not_make_the_lost_write_harmless(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    host.links[1].go_down()
    with contextlib.suppress(MpioError):
        await handle.read(0, 4096)
        await handle.read(0, 4096)
    host.links[0].arrival_s, host.links[0].times_out = 60.0, False
    with pytest.raises(MpioError):
        await handle.write(0, stamp("old"))
    host.links[0].arrival_s = 0.0
    host.links[1].come_up()
    await host.device.readmit(host.device.underpaths[1])
    await handle.write(0, stamp("new"))
    await trio.sleep(120)
    assert bytes(await handle.read(0, 4096)) == stamp("new")


@pytest.mark.expects_log("underpath down|release postponed")
async def test_the_reservation_is_kept_while_an_old_write_is_out_and_released_after(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a", io_timeout_s=5)
    handle = await host.device.open()
    slow = host.links[0]
    slow.arrival_s, slow.times_out = 600.0, False
    await handle.write(0, stamp("one"))
    await handle.write(0, stamp("two"))
    slow.arrival_s = 0.0
    await handle.aclose()
    assert world.holder == KEYS["a"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert world.holder is None
    assert writes_by(world, host) == [stamp("one")[:8], stamp("two")[:8]]


@pytest.mark.expects_log("fenced")
async def test_an_idle_owner_learns_that_it_was_taken_over(autojump_clock: MockClock) -> None:
    """What it has cached is stale from then on."""
    world = World()
    host = await world.host("a")
    told: list[str] = []
    host.device.on_fenced = lambda: told.append("fenced")
    await host.device.open()
    taken_by_b(world)()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert told == ["fenced"]


@pytest.mark.hazard(2, 3)
@pytest.mark.expects_log("fenced")
async def test_a_fenced_host_does_not_register_again_by_itself(autojump_clock: MockClock) -> None:
    """Only an open does, by the patent's box 520; until then the array refuses whatever is still on its way."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    taken_by_b(world)()
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))
    assert not any(one.registered for one in host.device.underpaths)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert world.keys == [KEYS["b"]]
    with pytest.raises(OpenRefused):
        await host.device.open()
    assert world.keys.count(KEYS["a"]) == 2


@pytest.mark.expects_log("underpath removed")
async def test_preempted_while_it_releases_for_a_dead_underpath_it_does_not_stay_registered() -> (
    None
):
    """Between taking the reservation over from its own dead nexus and registering the others."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.transports[0].vanish()
    register = pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY)
    just_before(host, register, taken_by_b(world))
    await handle.aclose()
    assert world.holder == KEYS["b"]
    assert KEYS["a"] not in world.keys


@pytest.mark.hazard(2)
@pytest.mark.expects_log("underpath removed")
async def test_preempted_before_it_takes_over_from_its_dead_underpath_it_does_not_register_again() -> (
    None
):
    """The preempt of its own key is refused: because a session lost its registration, or because all are gone."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.transports[0].vanish()
    world.model.log.clear()
    just_before(host, pr_out_action(PrOut.PREEMPT_AND_ABORT), taken_by_b(world))
    await handle.aclose()
    assert world.holder == KEYS["b"]
    assert not [line for line in world.sent(host) if "IGNORE" in line]


@pytest.mark.hazard(2, 14)
async def test_preempted_while_a_new_session_registers_to_release_it_does_not_stay_registered() -> (
    None
):
    """Between the look that showed the reservation as its own and the registration.

    The session begins anew after the flush, which would have noticed it.  (LIO's PREEMPT of our own key would remove
    it by chance, with the sender's.)
    """
    world = World(LogicalUnitModel(SPC))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    transport = host.transports[0]

    def log_in_again() -> None:
        transport.log_in_again(isid="00023d0000ff")

    just_before(host, lambda one: one.cdb[0] == OpCode.SYNCHRONIZE_CACHE_10, log_in_again)
    register = pr_out_action(PrOut.REGISTER_AND_IGNORE_EXISTING_KEY)
    just_before(host, register, taken_by_b(world))
    await handle.aclose()
    assert world.holder == KEYS["b"]
    assert KEYS["a"] not in world.keys


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
async def test_preempted_during_a_forced_open_the_older_handles_are_not_let_in_again() -> None:
    """Its preempt is refused for want of a registration: made anew, it would be the older handle's too."""
    world = World()
    host = await world.host("a")
    old = await host.device.open(OpenOption.NO_RESERVE)
    confirmed = pr_out_action(PrOut.REGISTER)
    waiting = [one.name for one in host.transports]

    def looks_who_holds(command: Command) -> bool:
        if waiting and confirmed(command):
            waiting.pop()
        return not waiting and pr_in_action(PrIn.READ_KEYS)(command)

    just_before(host, looks_who_holds, taken_by_b(world, then_released=True))
    just_before(host, looks_who_holds, reserved_by_b(world))
    with pytest.raises(OpenRefused):
        await host.device.open(OpenOption.FORCED_OPEN)
    assert world.holder == KEYS["b"]
    with pytest.raises(Fenced):
        await old.write(0, stamp("old"))


def reserved_by_b(world: World) -> Callable[[], None]:
    def act() -> None:
        command = pr_out.reserve(KEYS["b"], TYPE)
        while not world.model.execute(
            Nexus("iqn.host-b", 1), command.cdb, bytes(command.data_out)
        ).is_good:
            pass

    return act
