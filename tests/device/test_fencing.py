"""Another host takes the disk: nothing of ours reaches the medium any more, and no handle forgets it."""

import errno

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.registrar import TYPE
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import Fenced, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.quirks import LIO, SCST, TGT, Quirks
from tests.device.world import KEYS, World, stamp

FORCED = OpenOption.FORCED_OPEN


@pytest.mark.hazard(17)
@pytest.mark.expects_log("fenced")
@pytest.mark.parametrize("quirks", [LIO, SCST], ids=["lio", "scst"])
async def test_a_forced_open_takes_over_and_the_old_handle_stays_dead(quirks: Quirks) -> None:
    """The unit attention and the conflict come in either order."""
    world = World(LogicalUnitModel(quirks))
    a, b = await world.host("a"), await world.host("b")
    told: list[str] = []
    a.device.on_fenced = lambda: told.append("a")
    old = await a.device.open()
    await old.write(0, stamp("a was here"))
    new = await b.device.open(FORCED)
    assert world.holder == KEYS["b"]
    assert world.keys == [KEYS["b"]] * 2
    for _ in range(2):
        with pytest.raises(Fenced) as error:
            await old.write(0, stamp("too late"))
        assert error.value.errno == errno.EBADE
        with pytest.raises(Fenced):
            await old.read(0, 512)
        with pytest.raises(Fenced):
            await old.flush()
    assert told == ["a"]
    assert world.keys == [KEYS["b"]] * 2
    assert bytes(await new.read(0, 4096)) == stamp("a was here")
    await old.aclose()
    assert world.holder == KEYS["b"]


@pytest.mark.expects_log("fenced")
async def test_after_being_fenced_a_new_open_starts_afresh_and_the_old_handle_does_not() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    old = await a.device.open()
    new = await b.device.open(FORCED)
    with pytest.raises(Fenced):
        await old.write(0, stamp("no"))
    with pytest.raises(OpenRefused) as refusal:
        await a.device.open()
    assert refusal.value.errno == errno.EIO
    await new.aclose()
    again = await a.device.open()
    await again.write(0, stamp("afresh"))
    with pytest.raises(Fenced):
        await old.write(0, stamp("never"))
    await old.aclose()
    assert world.holder == KEYS["a"]
    await again.aclose()
    assert world.holder is None


@pytest.mark.hazard(2)
@pytest.mark.expects_log("fenced")
async def test_a_second_open_does_not_let_a_preempted_handle_back_in() -> None:
    """Registering again after being preempted un-fences the host."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    old = await a.device.open()
    await b.device.open(FORCED)
    with pytest.raises(OpenRefused):
        await (
            a.device.open()
        )  # it registers a's nexuses again, so the array alone would let them in
    assert KEYS["a"] in world.keys
    with pytest.raises(Fenced):
        await old.write(0, stamp("un-fenced"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]


@pytest.mark.expects_log("fenced")
async def test_a_returning_underpath_does_not_let_a_preempted_handle_back_in(
    autojump_clock: MockClock,
) -> None:
    """The same, by the checker."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    old = await a.device.open()
    a.links[0].go_down()
    await b.device.open(FORCED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, a.device)
        a.device.underpaths[0].registered = False
        a.links[0].come_up()
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    with pytest.raises(Fenced):
        await old.write(0, stamp("un-fenced"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]


@pytest.mark.hazard(1)
@pytest.mark.expects_log("fenced")
async def test_no_write_lands_after_the_forced_open_returned(autojump_clock: MockClock) -> None:
    """Writes in flight at the array when the preempt comes are aborted before the open is granted."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    old = await a.device.open()
    for link in a.links:
        link.execution_s = 3.0
    outcomes: list[str] = []

    async def write(number: int) -> None:
        try:
            await old.write(number * 4096, stamp("old owner"))
            outcomes.append("written")
        except Fenced:
            outcomes.append("fenced")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
        await trio.sleep(1)
        await b.device.open(FORCED)
        granted_at = world.model.state.step
    assert outcomes == ["fenced"] * 8
    late = [
        one
        for one in world.model.medium.history
        if one.kind is Kind.WRITE
        and one.nexus in {a.nexus(0), a.nexus(1)}
        and one.step > granted_at
    ]
    assert late == []


@pytest.mark.hazard(11, 14)
async def test_a_nexus_that_alone_lost_its_registration_is_registered_again() -> None:
    """A new session is a new nexus; its conflict is no failure of the underpath."""
    world = World(LogicalUnitModel(TGT))
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("before"))
    host.transports[1].log_in_again()
    for _ in range(4):
        assert bytes(await handle.read(0, 4096)) == stamp("before")
    assert all(one.is_usable for one in host.device.underpaths)
    assert world.keys.count(KEYS["a"]) == 3  # tgt keeps listing the registration of the old session
    assert host.device.underpaths[1].counters.reads >= 1


async def test_a_lun_reset_disturbs_nobody() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("kept"))
    world.model.lun_reset()
    for _ in range(4):
        assert bytes(await handle.read(0, 4096)) == stamp("kept")
    assert all(one.is_usable for one in host.device.underpaths)


@pytest.mark.expects_log("fenced")
async def test_a_power_loss_that_forgot_the_reservation_ends_the_grant() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    world.model.power_loss()
    with pytest.raises(Fenced):
        await handle.write(0, stamp("unprotected"))


@pytest.mark.expects_log("fenced")
async def test_a_unit_attention_that_a_control_command_met_is_not_forgotten() -> None:
    """It is told once.  Here TEST UNIT READY of a checker meets it, not the write."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    world.model.power_loss()
    with pytest.raises(Fenced):
        await host.device.look()  # meets 29/xx on one underpath, and is answered "nobody holds it"
    with pytest.raises(Fenced):
        await handle.write(0, stamp("unprotected"))
    assert not [one for one in world.model.medium.history if one.kind is Kind.WRITE]


@pytest.mark.hazard(15)
@pytest.mark.expects_log("underpath down")
async def test_a_preempt_whose_answer_was_lost_is_looked_at_not_repeated() -> None:
    """Repeated it would conflict, because it worked."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    preempt = pr_out.preempt_and_abort(KEYS["b"], KEYS["a"], TYPE).cdb
    b.links[0].lose_answers(1, lambda command: command.cdb == preempt, after_s=0.01)
    handle = await b.device.open(FORCED)
    assert world.holder == KEYS["b"]
    assert [one for one in world.sent(b) if "PREEMPT" in one] == ["b1 PREEMPT_AND_ABORT"]
    await handle.write(0, stamp("b"))
    await handle.aclose()
    assert world.holder is None
