"""An answer that nobody saw may have been the only notice of another disk: who lost it is asked who it leads to."""

import contextlib
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.first_answer import PATIENCE_S
from mpio_fuse.device.handle import Handle
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.command import HostStatus
from mpio_fuse.scsi.opcodes import OpCode, PrIn
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO, SPC, Quirks
from mpio_fuse.target.registrations import attention_port
from tests.device.test_between import Matches, pr_in_action, swap_disk
from tests.device.world import Host, World, stamp

pytestmark = pytest.mark.virtual_clock

Act = Callable[[Host, Handle], Awaitable[object]]


def of(*codes: OpCode) -> Matches:
    return lambda one: one.cdb[0] in codes


LOSES: dict[str, tuple[Matches, Act]] = {
    "check": (of(OpCode.TEST_UNIT_READY), lambda host, _: host.device.checks.check_all()),
    "look": (pr_in_action(PrIn.READ_KEYS), lambda host, _: host.device.look()),
    "read": (of(OpCode.READ_10), lambda _, handle: handle.read(0, 4096)),
    "flush": (of(OpCode.SYNCHRONIZE_CACHE_10), lambda _, handle: handle.flush()),
}
"""What is sent first and gets no answer."""


def _swap_in(host: Host, quirks: Quirks = LIO) -> LogicalUnitModel:
    """Another disk behind the first node, which tells so once."""
    other, transport = LogicalUnitModel(quirks, serial="another"), host.transports[0]
    transport.log_in_again()
    swap_disk(transport, other)
    other.state.attentions.establish(attention_port(transport.nexus, other.quirks), (0x3F, 0x0E))
    return other


async def _lose_the_notice(host: Host, handle: Handle, what: str, host_status: int) -> None:
    matches, act = LOSES[what]
    host.links[0].lose_answers(1, matches, host_status=host_status, after_s=0.01)
    with trio.move_on_after(0.5), contextlib.suppress(MpioError):
        await act(host, handle)


@pytest.mark.hazard(8)
@pytest.mark.expects_log("underpath down|underpath removed")
@pytest.mark.parametrize("host_status", [HostStatus.TIME_OUT, HostStatus.TRANSPORT_DISRUPTED])
@pytest.mark.parametrize("what", LOSES)
async def test_another_disk_that_told_so_in_a_lost_answer_is_not_believed(
    what: str, host_status: int, autojump_clock: MockClock
) -> None:
    """Its answer, that nobody has it reserved, would fence the only host that uses ours."""
    world = World(LogicalUnitModel(LIO))
    rules = UnderpathRules(no_path_timeout_s=60)
    host = await world.host("a", underpaths=1, rules=rules)
    handle = await host.device.open()
    other = _swap_in(host)
    await _lose_the_notice(host, handle, what, host_status)
    other.log.clear()
    with pytest.raises(MpioError):
        await host.device.look()
    assert not handle.grant.is_fenced
    assert {one.cdb[0] for one in other.log} <= {OpCode.INQUIRY}


@pytest.mark.hazard(8)
@pytest.mark.expects_log("underpath down|underpath removed|unregister failed|flush at the last")
@pytest.mark.parametrize("what", LOSES)
async def test_nothing_is_sent_to_a_disk_that_told_of_itself_in_a_lost_answer(
    what: str, autojump_clock: MockClock
) -> None:
    """Not the release and the registration of a close and an open, either."""
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a")
    handle = await host.device.open()
    other = _swap_in(host)
    await _lose_the_notice(host, handle, what, HostStatus.TIME_OUT)
    other.log.clear()
    await handle.write(0, stamp("to ours"))
    await handle.aclose()
    handle = await host.device.open(OpenOption.DEFAULT)
    await handle.write(0, stamp("to ours"))
    await handle.aclose()
    assert world.holder is None
    assert {one.cdb[0] for one in other.log} <= {OpCode.INQUIRY}
    assert host.device.underpaths[0].state is UnderpathState.REMOVED


@pytest.mark.expects_log("logical unit reset|underpath down|underpath removed|barrier|could not be")
async def test_another_disk_is_not_reset_and_its_confirmation_not_believed(
    autojump_clock: MockClock,
) -> None:
    """The barrier of a NO_RESERVE grant is a reset: of the disk that the lost write went to."""
    world = World(LogicalUnitModel(LIO))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open(OpenOption.NO_RESERVE)
    host.links[0].lose_answers(1, of(OpCode.WRITE_10), after_s=0.01)
    with trio.move_on_after(0.005):
        await handle.write(0, stamp("lost"))
    other = _swap_in(host)
    await _lose_the_notice(host, handle, "check", HostStatus.TIME_OUT)
    other.log.clear()
    with pytest.raises(MpioError):
        await handle.write(0, stamp("after"))
    assert {one.cdb[0] for one in other.log} <= {OpCode.INQUIRY, OpCode.TEST_UNIT_READY}
    assert not other.state.attentions.pending(attention_port(host.nexus(0), other.quirks))


@pytest.mark.expects_log("underpath down")
async def test_data_do_not_wait_for_one_that_lost_an_answer_and_hangs(
    autojump_clock: MockClock,
) -> None:
    world = World()
    host = await world.host("a", control_timeout_s=10.0)
    handle = await host.device.open()
    host.links[0].times_out = False
    host.links[0].lose_answers(None)
    await host.device.look()  # somebody else answers, and who was silent is given up
    begun_s = trio.current_time()
    await handle.write(0, stamp("goes on"))
    assert trio.current_time() - begun_s <= PATIENCE_S


async def test_one_that_answers_carries_data_at_once(autojump_clock: MockClock) -> None:
    """It costs an INQUIRY, and a look."""
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    host.links[0].lose_answers(1, pr_in_action(PrIn.READ_KEYS), after_s=0.01)
    with pytest.raises(MpioError):
        await host.device.look()
    world.model.log.clear()
    await handle.write(0, stamp("goes on"))
    await handle.write(0, stamp("goes on"))
    assert world.sent(host) == [
        "a1 INQUIRY",
        "a1 SERVICE_ACTION_IN",
        "a1 READ_KEYS",
        "a1 READ_RESERVATION",
        "a1 WRITE",
        "a1 WRITE",
    ]


async def test_one_that_never_answers_the_look_does_not_keep_the_request_for_ever(
    autojump_clock: MockClock,
) -> None:
    """READ KEYS is lost again and again, and INQUIRY answered: no endless round of looks."""
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    host.links[0].lose_answers(None, pr_in_action(PrIn.READ_KEYS), after_s=0.01)
    with pytest.raises(MpioError):
        await host.device.look()
    world.model.log.clear()
    with trio.fail_after(600), pytest.raises(MpioError):
        await handle.write(0, stamp("never"))
    assert len(world.model.log) < 100


@pytest.mark.hazard(8)
@pytest.mark.expects_log("underpath removed|flush at the last")
async def test_a_single_path_is_asked_too(autojump_clock: MockClock) -> None:
    """The answer that told of another disk came to a read that nobody waited for any more."""
    quirks = attrs.evolve(SPC, name="SPC-2 disk", has_persistent_reserve=False)
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a", underpaths=1)
    handle = await host.device.open(OpenOption.NO_RESERVE)
    other = _swap_in(host, quirks)
    host.links[0].answer_s = 0.1
    with trio.move_on_after(0.05):
        await handle.read(0, 4096)
    await trio.sleep(1)
    with pytest.raises(MpioError):
        await handle.write(0, stamp("to ours"))
    assert not other.medium.history
