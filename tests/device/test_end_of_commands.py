"""Before the disk is granted, or written again, every command of the past is known to be over."""

import contextlib
import errno
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.errors import Fenced, MpioError, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import PER_INITIATOR, TGT, VMWARE_RDM, Quirks
from tests.device.test_between import just_before, pr_out_action, taken_by_b, writes_by
from tests.device.world import KEYS, Host, World, ownership_of, stamp

pytestmark = pytest.mark.virtual_clock

FORCED = OpenOption.FORCED_OPEN
LATE_S = 20.0
WITHOUT_ABORT = pytest.mark.parametrize("quirks", [TGT, VMWARE_RDM], ids=lambda one: one.name)


async def _with_a_write_under_way(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> tuple[Host, Host]:
    """Host a has sent a write, which the array will carry out in 20 s; what a is told of it is another matter."""
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    for link in a.links:
        link.execution_s = LATE_S

    async def write() -> None:
        with contextlib.suppress(MpioError):
            await handle.write(0, stamp("a, too late"))

    nursery.start_soon(write)
    await trio.sleep(1)
    return a, b


@pytest.mark.hazard(1, 9, 20)
@WITHOUT_ABORT
async def test_a_forced_open_resets_the_unit_where_preempt_cannot_abort(
    quirks: Quirks, autojump_clock: MockClock, announce_log: Callable[[str], None]
) -> None:
    """PREEMPT leaves what the victim has under way, which would land under the new owner's reservation."""
    world = World(LogicalUnitModel(quirks))
    if quirks is VMWARE_RDM:
        announce_log("underpath down .* underpath=a")  # nobody tells the victim
    async with trio.open_nursery() as nursery:
        a, b = await _with_a_write_under_way(world, autojump_clock, nursery)
        new = await b.device.open(FORCED)
        before = writes_by(
            world, a
        )  # tgt answers a reset once the commands are done, others drop them
        await new.write(0, stamp("b"))
    await trio.sleep(2 * LATE_S)
    assert world.holder == KEYS["b"]
    assert writes_by(world, a) == before
    assert bytes(await new.read(0, 4096)) == stamp("b")


@pytest.mark.hazard(20)
@pytest.mark.expects_log("underpath down")
async def test_a_forced_open_is_refused_until_the_unit_could_be_reset(
    autojump_clock: MockClock,
) -> None:
    world = World(LogicalUnitModel(VMWARE_RDM))
    async with trio.open_nursery() as nursery:
        a, b = await _with_a_write_under_way(world, autojump_clock, nursery)
        for link in b.links:
            link.takes_resets = False
        for options in (FORCED, OpenOption.DEFAULT):
            with pytest.raises(OpenRefused, match="would not confirm") as refusal:
                await b.device.open(options)
            assert refusal.value.errno == errno.EIO
        assert world.holder == KEYS["b"]
        for link in b.links:
            link.takes_resets = True
        new = await b.device.open()
        await new.write(0, stamp("b"))
    assert writes_by(world, a) == []


@pytest.mark.expects_log("underpath down")
async def test_a_preempt_and_abort_whose_answer_was_lost_is_followed_by_a_reset(
    autojump_clock: MockClock,
) -> None:
    """It took the reservation; whether it has aborted anything yet nobody knows."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    b.links[0].lose_answers(1, pr_out_action(PrOut.PREEMPT_AND_ABORT), after_s=0.1)
    resets: list[str] = []
    for one in b.transports:
        reset = one.reset_logical_unit

        async def noted(reset: object = reset) -> None:
            resets.append("reset")
            await reset()  # type: ignore[operator]

        one.reset_logical_unit = noted  # type: ignore[method-assign]
    new = await b.device.open(FORCED)
    assert resets == ["reset"]
    await new.write(0, stamp("b"))
    assert not [one for one in b.device.underpaths if one.needs_look]


@pytest.mark.expects_log("underpath down")
async def test_where_registrations_are_the_hosts_a_lost_write_is_ended_by_a_reset(
    autojump_clock: MockClock,
) -> None:
    """Preempting our own key would bar none of our nexuses."""
    world = World(LogicalUnitModel(PER_INITIATOR))
    a = await world.host("a", io_timeout_s=5)
    assert ownership_of(a).registrar.is_per_initiator
    handle = await a.device.open()
    for text in ("settles what the registrations left open", "so that the next is a1's turn"):
        await handle.write(0, stamp(text))
    a.links[0].execution_s = LATE_S
    await handle.write(0, stamp("one"))
    await handle.write(0, stamp("two"))
    await trio.sleep(2 * LATE_S)
    assert writes_by(world, a)[-1] == stamp("two")[:8]
    assert bytes(await handle.read(0, 4096)) == stamp("two")


@pytest.mark.expects_log("underpath down")
async def test_where_registrations_are_the_hosts_a_late_release_gives_up_nothing_of_the_next_open(
    autojump_clock: MockClock,
) -> None:
    """It has no answer, is repeated over another underpath, and does its work there; then the first one comes to it."""
    world = World(LogicalUnitModel(PER_INITIATOR))
    a = await world.host("a")
    handle = await a.device.open()
    is_release, execute = pr_out_action(PrOut.RELEASE), a.transports[0].execute

    async def late(command: Command) -> Completion:
        a.links[0].execution_s = LATE_S if is_release(command) else 0.0
        return await execute(command)

    a.transports[0].execute = late  # type: ignore[method-assign]
    await handle.aclose()
    a.links[0].heal()
    handle = await a.device.open()
    await trio.sleep(2 * LATE_S)
    await handle.write(0, stamp("still ours"))


@pytest.mark.expects_log("underpath down")
async def test_without_a_reservation_a_lost_write_is_ended_by_a_reset(
    autojump_clock: MockClock,
) -> None:
    world = World()
    a = await world.host("a", io_timeout_s=5)
    handle = await a.device.open(OpenOption.NO_RESERVE)
    a.links[0].execution_s = LATE_S
    await handle.write(0, stamp("one"))
    await handle.write(0, stamp("two"))
    await trio.sleep(2 * LATE_S)
    assert bytes(await handle.read(0, 4096)) == stamp("two")


@pytest.mark.expects_log("fenced|not readmitted")
@pytest.mark.parametrize("action", [PrOut.REGISTER_AND_IGNORE_EXISTING_KEY, PrOut.REGISTER])
async def test_a_second_open_notices_a_host_that_came_and_went_meanwhile(
    action: PrOut, autojump_clock: MockClock
) -> None:
    """Between the look and the registration: all looks ours before it and free after it."""
    world = World()
    a = await world.host("a")
    first = await a.device.open()
    if action is PrOut.REGISTER_AND_IGNORE_EXISTING_KEY:
        _lose_one_registration(a)
    just_before(a, pr_out_action(action), taken_by_b(world, then_released=True))
    try:
        await a.device.open()
    except OpenRefused as refusal:
        assert refusal.errno == errno.EIO  # noqa: PT017 - both ends are right, a handle that lives on is not
    with pytest.raises(Fenced):
        await first.write(0, stamp("stale"))


def _lose_one_registration(host: Host) -> None:
    host.device.underpaths[1].registered = False
