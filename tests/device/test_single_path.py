"""An array without persistent reservations: SCSI-2 RESERVE(6) over one underpath, and never a guess."""

import errno
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.reserve.explain import explain
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.single_path import decide_single
from mpio_fuse.reserve.walk import walk
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import SCSI_DEBUG, SPC
from tests.device.world import Host, World, stamp

FORCED, RETAIN = OpenOption.FORCED_OPEN, OpenOption.RETAIN_RESERVATION
NO_RESERVE, SINGLE, DEFAULT = OpenOption.NO_RESERVE, OpenOption.SINGLE, OpenOption.DEFAULT
SPC_2 = attrs.evolve(SPC, name="SPC-2 disk", has_persistent_reserve=False)


def _world() -> World:
    return World(LogicalUnitModel(SPC_2))


def _owner(world: World) -> Nexus | None:
    return world.model.state.scsi2.owner


def _resets(host: Host) -> list[str]:
    """Each underpath over which a reset went, from now on."""
    sent: list[str] = []
    for one in host.transports:
        reset = one.reset_logical_unit

        async def noted(name: str = one.name, reset: object = reset) -> None:
            sent.append(name)
            await reset()  # type: ignore[operator]

        one.reset_logical_unit = noted  # type: ignore[method-assign]
    return sent


async def test_an_open_reserves_over_one_underpath_and_the_last_close_releases() -> None:
    world = _world()
    host = await world.host("a", underpaths=2)
    first = await host.device.open()
    second = await host.device.open()
    for turn in range(4):
        await first.write(4096 * turn, stamp(f"turn {turn}"))
    assert world.sent(host).count("a1 RESERVE_6") == 2
    assert {one.nexus for one in world.model.medium.history} == {host.nexus(0)}
    await first.aclose()
    assert _owner(world) == host.nexus(0)
    await second.aclose()
    assert _owner(world) is None
    assert not [one for one in world.sent(host) if "PERSISTENT" in one or "REGISTER" in one]


@pytest.mark.parametrize(
    ("options", "code"),
    [(DEFAULT, errno.EIO), (SINGLE, errno.EIO), (RETAIN, errno.EBUSY), (NO_RESERVE, errno.EBUSY)],
)
async def test_another_hosts_reservation_refuses_with_the_figures_errno(
    options: OpenOption, code: int
) -> None:
    world = _world()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    with pytest.raises(OpenRefused) as refusal:
        await b.device.open(options)
    assert refusal.value.errno == code
    assert "RESERVATION CONFLICT" in str(refusal.value)
    assert _owner(world) == a.nexus(0)


@pytest.mark.hazard(9, 21)
@pytest.mark.expects_log("fenced")
async def test_a_forced_open_resets_the_unit_and_the_old_handle_stays_dead() -> None:
    """The logical unit, never the target."""
    world = _world()
    a, b = await world.host("a"), await world.host("b")
    old = await a.device.open()
    await old.write(0, stamp("a was here"))
    resets = _resets(b)
    new = await b.device.open(FORCED)
    assert resets == ["b1"]
    assert _owner(world) == b.nexus(0)
    await new.write(0, stamp("b"))
    for _ in range(2):
        with pytest.raises(Fenced) as error:
            await old.write(0, stamp("too late"))
        assert error.value.errno == errno.EBADE
    with pytest.raises(OpenRefused):
        await a.device.open()
    await new.aclose()
    again = await a.device.open()
    assert bytes(await again.read(0, 4096)) == stamp("b")
    with pytest.raises(Fenced):
        await old.read(0, 512)


@pytest.mark.expects_log("fenced")
async def test_a_reset_fences_though_nobody_has_reserved_since() -> None:
    """Another host may have come and gone: reserving again would not tell."""
    world = _world()
    host = await world.host("a")
    old = await host.device.open()
    world.model.lun_reset()
    with pytest.raises(Fenced):
        await old.write(0, stamp("no"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]
    new = await host.device.open()
    await new.write(0, stamp("afresh"))


@pytest.mark.virtual_clock
@pytest.mark.expects_log("fenced|underpath down")
async def test_a_carrier_that_failed_and_came_back_fences(autojump_clock: MockClock) -> None:
    """A target that restarts need not announce it, and forgets the reservation."""
    world = _world()
    host = await world.host("a", io_timeout_s=5)
    old = await host.device.open()
    host.links[0].go_down()
    with pytest.raises(NoUsableUnderpath):
        await old.write(0, stamp("lost"))
    world.model.power_loss(announced=False)
    host.links[0].come_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    with pytest.raises(Fenced):
        await old.write(0, stamp("unprotected"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]
    new = await host.device.open()
    await new.write(0, stamp("afresh"))


@pytest.mark.expects_log("underpath down")
async def test_nothing_open_and_the_carrier_dead_another_underpath_carries() -> None:
    world = _world()
    host = await world.host("a")
    host.links[0].go_down()
    handle = await host.device.open()
    await handle.write(0, stamp("over a2"))
    assert _owner(world) == host.nexus(1)
    assert [one.registered for one in host.device.underpaths] == [False, True]


@pytest.mark.expects_log("underpath down")
async def test_no_underpath_is_one_line() -> None:
    world = _world()
    host = await world.host("a")
    for link in host.links:
        link.go_down()
    with pytest.raises(OpenRefused, match="no underpath answers") as refusal:
        await host.device.open()
    assert refusal.value.errno == errno.EIO


async def test_it_is_retained_and_released_by_hand() -> None:
    world = _world()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    assert _owner(world) == host.nexus(0)
    assert host.device.snapshot().retention is not None
    await host.device.release_retained()
    assert _owner(world) is None
    assert host.device.snapshot().retention is None


async def test_no_reserve_gives_up_what_was_retained() -> None:
    world = _world()
    host = await world.host("a")
    await (await host.device.open(RETAIN)).aclose()
    handle = await host.device.open(NO_RESERVE)
    assert _owner(world) is None
    await handle.write(0, stamp("shared"))


@pytest.mark.expects_log("fenced")
async def test_a_no_reserve_handle_is_fenced_when_another_host_reserves() -> None:
    world = _world()
    a, b = await world.host("a"), await world.host("b")
    shared = await a.device.open(NO_RESERVE)
    await shared.write(0, stamp("shared"))
    await b.device.open()
    with pytest.raises(Fenced):
        await shared.write(0, stamp("no"))


async def test_no_reserve_beside_a_reserving_handle_takes_nothing_from_it() -> None:
    world = _world()
    host = await world.host("a")
    await host.device.open()
    await host.device.open(NO_RESERVE)
    assert _owner(world) == host.nexus(0)


@pytest.mark.parametrize("lost", [OpCode.RESERVE_6, OpCode.RELEASE_6])
async def test_a_lost_answer_is_asked_for_again(lost: OpCode) -> None:
    """From the same nexus both commands may be repeated."""
    world = _world()
    host = await world.host("a")
    host.links[0].lose_answers(1, lambda command: command.cdb[0] == lost, after_s=0)
    handle = await host.device.open()
    assert _owner(world) == host.nexus(0)
    await handle.aclose()
    assert _owner(world) is None


async def test_a_forced_open_whose_reset_is_not_confirmed_is_refused() -> None:
    world = _world()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    for link in b.links:
        link.takes_resets = False
    with pytest.raises(OpenRefused, match="LOGICAL UNIT RESET") as refusal:
        await b.device.open(FORCED)
    assert refusal.value.errno == errno.EBUSY
    assert _owner(world) == a.nexus(0)


@pytest.mark.virtual_clock
async def test_a_cancelled_write_is_waited_for_before_the_next(autojump_clock: MockClock) -> None:
    world = _world()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].execution_s = 3.0
    with trio.move_on_after(1):
        await handle.write(0, stamp("cancelled"))
    host.links[0].execution_s = 0.0
    await handle.write(0, stamp("newer"))
    await trio.sleep(10)
    assert bytes(await handle.read(0, 4096)) == stamp("newer")


async def test_remove_leaves_nothing_reserved() -> None:
    world = _world()
    host = await world.host("a")
    await host.device.open()
    await host.device.remove()
    assert _owner(world) is None


async def test_scsi_debug_serves_though_it_ignores_reservations() -> None:
    world = World(LogicalUnitModel(SCSI_DEBUG))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    await handle.write(0, stamp("data"))
    assert bytes(await handle.read(0, 4096)) == stamp("data")
    await handle.aclose()
    assert [one.state for one in host.device.underpaths] == [UnderpathState.UP]


def _keeps_others_out(host: Host) -> bool | None:
    told = host.device.snapshot().reservation.single_path
    assert told is not None
    return told.keeps_others_out


@pytest.mark.expects_log("reservation keeps nobody out .*underpath=a2")
async def test_it_is_found_out_where_a_reservation_keeps_nobody_out() -> None:
    """While it is held over one nexus, another one of this host is let in."""
    host = await World(LogicalUnitModel(SCSI_DEBUG)).host("a")
    await host.device.look()
    assert (
        _keeps_others_out(host) is None
    )  # nothing is reserved, so that anybody is let in says nothing
    await host.device.open()
    await host.device.look()
    assert _keeps_others_out(host) is False


async def test_and_where_it_keeps_others_out() -> None:
    world = _world()
    host = await world.host("a")
    shared = await host.device.open(NO_RESERVE)
    await host.device.look()
    assert _keeps_others_out(host) is None
    await shared.aclose()
    await host.device.open()
    await host.device.look()
    assert _keeps_others_out(host) is True
    asked = [one for one in world.sent(host) if one.startswith("a2")]
    await host.device.look()
    assert [one for one in world.sent(host) if one.startswith("a2")] == asked


@pytest.mark.expects_log("fenced")
async def test_a_reset_between_does_not_make_it_look_as_if_nobody_were_kept_out() -> None:
    world = _world()
    host = await world.host("a")
    await host.device.open()
    send = host.transports[1].execute

    async def reset_before(*args: object, **kwargs: object) -> object:
        host.transports[1].execute = send  # type: ignore[method-assign]
        world.model.lun_reset()
        return await send(*args, **kwargs)  # type: ignore[arg-type]

    host.transports[1].execute = reset_before  # type: ignore[method-assign, assignment]
    await host.device.look()
    assert _keeps_others_out(host) is None
    with suppress(Fenced):
        await host.device.look()
    assert _keeps_others_out(host) is None


@pytest.mark.parametrize("options", [DEFAULT, NO_RESERVE, RETAIN, FORCED, FORCED | RETAIN])
@pytest.mark.parametrize("is_open", [False, True])
async def test_explain_tells_what_an_open_then_sends(options: OpenOption, *, is_open: bool) -> None:
    world = _world()
    host = await world.host("a")
    if is_open:
        await host.device.open()
    situation = await host.device.situation()
    told = [
        f"{sent.underpath} {sent.action.name}"
        for step in explain(options, situation).steps
        for sent in step.commands
    ]
    world.model.log.clear()
    resets = _resets(host)
    await host.device.open(options)
    looks = {"INQUIRY", "SERVICE_ACTION_IN"}
    answers = looks | {"TEST_UNIT_READY"} if NO_RESERVE not in options else looks
    sent = [one for one in world.sent(host) if one.split()[1] not in answers]
    if NO_RESERVE in options and not is_open:
        sent.remove("a1 TEST_UNIT_READY")  # whether the carrier answers at all
    assert sent == [one for one in told if not one.endswith("RESET")]
    assert resets == [one.split()[0] for one in told if one.endswith("RESET")]


@pytest.mark.parametrize("options", [DEFAULT, SINGLE, NO_RESERVE, RETAIN, FORCED])
def test_every_outcome_leads_to_an_end(options: OpenOption) -> None:
    edges = walk(decide_single(options))
    boxes = {box for box, _, _ in edges}
    refused = {then for _, outcome, then in edges if outcome == "refused"}
    assert refused <= {"EIO", "EBUSY"}
    assert {then for _, outcome, then in edges if outcome == "good"} - boxes <= {
        "opened",
        "opened, retained",
    }


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(MpioError, match="NO_RESERVE goes with no other"):
        decide_single(NO_RESERVE | FORCED)
