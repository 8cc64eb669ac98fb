"""Hazards of docs/hazards.md that no other test shows: what arrays do that a reader would not expect."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.control import issue
from mpio_fuse.device.handle import Handle
from mpio_fuse.device.registrar import TYPE
from mpio_fuse.device.underpath import Suspicion, Underpath, UnderpathState
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.procedure import Outcome
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.reservation_key import ZERO_KEY
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, PER_INITIATOR, SPC, TGT, Quirks
from mpio_fuse.target.refusal import check_condition
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.world import KEYS, Host, World, ownership_of, stamp


def changes(world: World, host: Host) -> list[str]:
    """The PERSISTENT RESERVE OUT commands that host sent, registering apart."""
    words = ("RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT_AND_ABORT")
    return [line for line in world.sent(host) if line.split()[1] in words]


async def write_stamps(handle: Handle, count: int) -> None:
    for number in range(count):
        await handle.write(number * 4096, stamp(str(number)))


@pytest.mark.hazard(10)
@pytest.mark.parametrize(
    ("registered", "state", "verdict"),
    [
        (False, UnderpathState.UP, None),
        (True, UnderpathState.DOWN, None),
        (True, UnderpathState.UP, Verdict.REEXAMINE),
    ],
)
def test_an_underpath_is_usable_only_when_nothing_speaks_against_it(
    *, registered: bool, state: UnderpathState, verdict: Verdict | None
) -> None:
    underpath = Underpath(0, SimulatedTransport(LogicalUnitModel(), Nexus("iqn.host-a", 1)))
    underpath.registered, underpath.health.state = True, UnderpathState.UP
    assert underpath.is_usable
    underpath.registered, underpath.health.state = registered, state
    underpath.suspicion = verdict and Suspicion(verdict)
    assert not underpath.is_usable


@pytest.mark.hazard(10, 31)
@pytest.mark.parametrize("option", [OpenOption.DEFAULT, OpenOption.NO_RESERVE])
async def test_an_underpath_that_the_array_does_not_register_carries_no_data(
    option: OpenOption,
) -> None:
    world = World()
    refused = Nexus("iqn.host-a", 2)
    ending = check_condition(SenseKey.HARDWARE_ERROR, (0x44, 0x00))
    world.model.interfere(ending, count=None, opcode=OpCode.PERSISTENT_RESERVE_OUT, nexus=refused)
    host = await world.host("a")
    assert [one.registered for one in host.device.underpaths] == [True, False]
    handle = await host.device.open(option)
    await write_stamps(handle, 4)
    assert [one.registered for one in host.device.underpaths] == [True, False]
    assert {one.nexus for one in world.model.medium.history} == {host.nexus(0)}


@pytest.mark.hazard(10)
async def test_a_returning_underpath_registers_before_it_carries_data(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a", is_down=(2,))
    handle = await host.device.open()
    host.links[1].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        for number in range(60):
            await handle.write(number * 4096, stamp(str(number)))
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    sent = [line for line in world.sent(host) if line.startswith("a2")]
    assert "a2 WRITE" in sent
    assert sent.index("a2 REGISTER_AND_IGNORE_EXISTING_KEY") < sent.index("a2 WRITE")
    writes = [one for one in world.model.log if one.cdb[0] == OpCode.WRITE_10]
    assert all(one.answer and one.answer.is_good for one in writes)


@pytest.mark.hazard(31)
@pytest.mark.parametrize("option", [OpenOption.DEFAULT, OpenOption.NO_RESERVE], ids=str)
@pytest.mark.expects_log("underpath down")
async def test_an_open_that_registers_nowhere_is_no_success(option: OpenOption) -> None:
    """The array can be read, and refuses to register anybody any more."""
    world = World()
    host = await world.host("a")
    for nexus in (host.nexus(0), host.nexus(1)):
        leave = pr_out.register(KEYS["a"], ZERO_KEY)
        assert world.model.execute(nexus, leave.cdb, bytes(leave.data_out)).is_good
    ending = check_condition(SenseKey.HARDWARE_ERROR, (0x44, 0x00))
    world.model.interfere(ending, count=None, opcode=OpCode.PERSISTENT_RESERVE_OUT)
    with pytest.raises(OpenRefused, match="HARDWARE ERROR"):
        await host.device.open(option)
    assert not any(one.registered for one in host.device.underpaths)


@pytest.mark.hazard(2, 3)
@pytest.mark.expects_log("underpath down|fenced")
async def test_the_underpath_of_a_preempted_host_returns_and_stays_unregistered(
    autojump_clock: MockClock,
) -> None:
    """The host has not heard of the preemption: whoever registers the underpath must look first."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    a.links[0].go_down()
    for number in range(2):
        await handle.read(number * 4096, 4096)
    await b.device.open(OpenOption.FORCED_OPEN)
    a.links[0].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, a.device)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert world.keys == [KEYS["b"]] * 2
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))


@pytest.mark.hazard(5)
async def test_the_last_close_leaves_alone_what_another_host_has_reserved_meanwhile() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    for nexus, command in (
        (a.nexus(0), pr_out.release(KEYS["a"], TYPE)),
        (b.nexus(0), pr_out.reserve(KEYS["b"], TYPE)),
    ):
        while not world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good:
            pass
    world.model.log.clear()
    await handle.aclose()
    assert changes(world, a) == []
    assert world.holder == KEYS["b"]
    assert world.keys.count(KEYS["b"]) == 2


@pytest.mark.hazard(13)
@pytest.mark.parametrize("quirks", [LIO, SPC, TGT], ids=lambda one: one.name)
@pytest.mark.parametrize("option", [OpenOption.DEFAULT, OpenOption.NO_RESERVE], ids=str)
async def test_the_barrier_leaves_every_live_underpath_registered(
    quirks: Quirks, option: OpenOption, announce_log: Callable[[str], None]
) -> None:
    """Preempting our own key removes our other registrations, on LIO without a holder the sender's too."""
    announce_log("underpath down|barrier without abort")
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a", underpaths=3)
    handle = await host.device.open(option)
    host.links[0].go_down()
    await write_stamps(handle, 6)
    assert all(world.model.persistent.of(host.nexus(index)) for index in (1, 2))
    assert [one.is_usable for one in host.device.underpaths] == [False, True, True]
    assert world.holder == (KEYS["a"] if option is OpenOption.DEFAULT else None)


@pytest.mark.hazard(7)
async def test_the_nexus_that_holds_is_unregistered_last() -> None:
    """With its registration goes the reservation; until then no other host gets in."""
    world = World()
    host = await world.host("a", underpaths=3)
    registrar = ownership_of(host).registrar
    registrar.underpaths[0].registered = False
    assert await registrar.reserve() is Outcome.GOOD  # on the second one
    registrar.underpaths[0].registered = True
    world.model.log.clear()
    await registrar.unregister_all()
    order = [line.split()[0] for line in world.sent(host) if line.endswith(" REGISTER")]
    assert (sorted(order), order[-1]) == (["a1", "a2", "a3"], "a2")
    assert (world.holder, world.keys) == (None, [])


@pytest.mark.hazard(16)
@pytest.mark.expects_log("fenced")
async def test_the_only_notice_of_a_preemption_met_by_a_check_is_not_lost() -> None:
    """The disk is free again: the array would take the next write, and nothing would tell a second time."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    taken_and_given_back(world)
    for underpath in host.device.underpaths:
        answer = await issue(underpath, test_unit_ready(), 10, host.device.note_attention)
        assert answer.is_good
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))
    assert not world.model.medium.writes


@pytest.mark.hazard(16)
@pytest.mark.expects_log("fenced")
async def test_the_only_notice_of_a_preemption_outlives_a_look_that_fails() -> None:
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    taken_and_given_back(world)
    lost = host.links[0].lose_commands(
        1, lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_IN, after_s=0
    )
    with pytest.raises(NoUsableUnderpath):
        await host.device.look()
    assert lost.count == 0
    with pytest.raises(Fenced):
        await handle.write(0, stamp("no"))
    assert not world.model.medium.writes


def taken_and_given_back(world: World) -> None:
    """Another host preempts a's key, releases and leaves."""
    nexus = Nexus("iqn.host-b", 1)
    for command in (
        pr_out.register_and_ignore_existing_key(KEYS["b"]),
        pr_out.preempt_and_abort(KEYS["b"], KEYS["a"], TYPE),
        pr_out.release(KEYS["b"], TYPE),
        pr_out.register(KEYS["b"], ZERO_KEY),
    ):
        while not world.model.execute(nexus, command.cdb, bytes(command.data_out)).is_good:
            pass  # unit attentions


@pytest.mark.hazard(18)
async def test_one_registration_for_all_underpaths_is_enough() -> None:
    """The array registers initiators, so there is one key for two underpaths."""
    world = World(LogicalUnitModel(PER_INITIATOR))
    host = await world.host("a")
    assert world.keys == [KEYS["a"]]
    handle = await host.device.open()
    await write_stamps(handle, 4)
    await host.device.look()
    assert [one.counters.writes for one in host.device.underpaths] == [2, 2]
    await handle.aclose()
    assert world.holder is None


@pytest.mark.hazard(19)
async def test_a_session_that_lio_takes_for_a_stranger_costs_no_other_underpath() -> None:
    """Two sessions of one initiator through one portal: the second is registered, and conflicts nevertheless."""
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a")
    stranger = host.transports[1]
    world.model.detach(stranger.nexus)
    stranger.nexus = Nexus("iqn.host-a", 1, isid="800000000001")
    handle = await host.device.open()
    await write_stamps(handle, 6)
    assert world.holder == KEYS["a"]
    assert {one.nexus for one in world.model.medium.history} == {host.nexus(0)}


@pytest.mark.hazard(19)
async def test_a_registration_that_lio_lists_and_does_not_honour_is_made_anew() -> None:
    """A new session's; the old one's was the first of the port to go, and its preempt conflicts for ever."""
    world = World(LogicalUnitModel(LIO))
    a, b = await world.host("a", underpaths=1), await world.host("b")
    handle = await a.device.open()
    a.transports[0].log_in_again(isid="00023d0000ff")
    await handle.aclose()
    assert world.keys.count(KEYS["a"]) == 1
    await b.device.open()
    handle = await a.device.open(OpenOption.FORCED_OPEN)
    await write_stamps(handle, 2)
    assert world.holder == KEYS["a"]


@pytest.mark.hazard(20)
@pytest.mark.expects_log("underpath down")
async def test_plain_preempt_replaces_preempt_and_abort_on_illegal_request_only() -> None:
    """Any other refusal is no reason to do without the barrier."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    ending = check_condition(SenseKey.HARDWARE_ERROR, (0x44, 0x00))
    host.links[0].go_down()
    original = world.model.execute

    def execute(nexus: Nexus, cdb: bytes, data_out: bytes = b"") -> object:
        if cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and cdb[1] == PrOut.PREEMPT_AND_ABORT:
            world.model.interfere(ending)
        return original(nexus, cdb, data_out)

    world.model.execute = execute  # type: ignore[method-assign,assignment]
    with pytest.raises(NoUsableUnderpath, match="a write was lost"):
        await write_stamps(handle, 2)
    actions = {line.split()[1] for line in changes(world, host)}
    assert "PREEMPT_AND_ABORT" in actions
    assert "PREEMPT" not in actions


@pytest.mark.hazard(27)
async def test_more_keys_than_were_asked_for_are_asked_for_again() -> None:
    world = World()
    for number in range(200):
        other = pr_out.register_and_ignore_existing_key(KEYS["b"])
        world.model.execute(Nexus(f"iqn.other-{number}", 1), other.cdb, bytes(other.data_out))
    host = await world.host("a")
    state = await ownership_of(host).registrar.read_state()
    assert len(state.keys) == 202
    assert state.keys[-2:] == (KEYS["a"], KEYS["a"])


@pytest.mark.hazard(27)
@pytest.mark.parametrize("claimed_bytes", [0xFFFF_FFF8, 1 << 20, 0x7FFF_FFF8])
@pytest.mark.expects_log("underpath down")
async def test_a_list_of_keys_that_never_ends_is_refused(claimed_bytes: int) -> None:
    world = World()
    host = await world.host("a")
    asked_bytes: list[int] = []
    for transport in host.transports:
        lie_about_keys(transport, claimed_bytes, asked_bytes)
    registrar = ownership_of(host).registrar
    with pytest.raises(NoUsableUnderpath):
        await registrar.read_state()
    assert max(asked_bytes) <= 0xFFF8
    assert len(asked_bytes) <= 3 * len(host.transports)
    assert "READ KEYS" in registrar.underpaths[0].last_failure


def lie_about_keys(transport: SimulatedTransport, claimed_bytes: int, asked: list[int]) -> None:
    honest = transport.execute

    async def execute(command: Command) -> Completion:
        if command.cdb[0] != OpCode.PERSISTENT_RESERVE_IN or command.cdb[1] != PrIn.READ_KEYS:
            return await honest(command)
        await trio.lowlevel.checkpoint()
        assert command.data_in is not None
        asked.append(len(command.data_in))
        command.data_in[4:8] = claimed_bytes.to_bytes(4, "big")
        command.data_in[8:16] = KEYS["a"].raw
        return Completion()

    transport.execute = execute  # type: ignore[method-assign]


@pytest.mark.hazard(30)
@pytest.mark.parametrize(("is_serial", "at_once"), [(False, 4), (True, 1)])
async def test_registrations_go_one_at_a_time_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, *, is_serial: bool, at_once: int
) -> None:
    host = await World().host("a", underpaths=4, serialise_registers=is_serial)
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
    await host.device.open()
    assert most[0] == at_once
