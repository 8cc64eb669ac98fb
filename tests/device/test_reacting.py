"""What requests do about what their commands are answered: the table of reactions, at work."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.selection.rules import SelectionRules, SelectorName
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError, NoUsableUnderpath
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.target.refusal import RESERVATION_CONFLICT, Ending, check_condition
from tests.device.test_failover import is_write
from tests.device.world import Host, World, stamp

pytestmark = pytest.mark.virtual_clock

RECOVERED = check_condition(SenseKey.RECOVERED_ERROR, (0x17, 0x01))
BUSY = Ending(Status.BUSY)
BROKEN_DISK = check_condition(SenseKey.NOT_READY, (0x08, 0x00))
UNKNOWN_HOST_STATUS = 0x77


def is_read(command: Command) -> bool:
    return command.cdb[0] in (OpCode.READ_10, OpCode.READ_16)


def _states(host: Host) -> list[UnderpathState]:
    return [one.state for one in host.device.underpaths]


async def test_a_recovered_error_is_success(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    host = await world.host("a", underpaths=1)
    handle = await host.device.open()
    execute = host.transports[0].execute

    async def done_after_recovery(command: Command) -> Completion:
        done = await execute(command)
        return attrs.evolve(done, status=RECOVERED.status, sense=RECOVERED.sense)

    monkeypatch.setattr(host.transports[0], "execute", done_after_recovery)
    world.model.log.clear()
    assert await handle.write(0, stamp("done")) == 4096
    assert bytes(await handle.read(0, 4096)) == stamp("done")
    assert world.sent(host) == ["a1 WRITE", "a1 READ"]
    counters = host.device.underpaths[0].counters
    assert (counters.reads, counters.writes, counters.failures) == (1, 1, 0)


@pytest.mark.hazard(1)
@pytest.mark.parametrize(
    "host_status", [UNKNOWN_HOST_STATUS, HostStatus.SOFT_ERROR, HostStatus.PASSTHROUGH]
)
async def test_a_write_that_may_still_run_is_barred_before_it_is_repeated(
    host_status: int, autojump_clock: MockClock
) -> None:
    """Nobody knows what such a host status means, so nobody knows that the array is done with the write."""
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    host.links[0].lose_answers(1, is_write, host_status=host_status, after_s=0)
    world.model.log.clear()
    await handle.write(0, stamp("twice"))
    sent = [line for line in world.sent(host) if line.split()[1] in ("WRITE", "PREEMPT_AND_ABORT")]
    assert sent[0] == "a1 WRITE"
    assert sent[1].endswith("PREEMPT_AND_ABORT")
    assert sent[2].endswith(" WRITE")
    assert bytes(await handle.read(0, 4096)) == stamp("twice")


async def test_a_write_that_was_answered_needs_no_barrier(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    world.model.interfere(BUSY, count=3, opcode=OpCode.WRITE_10)
    world.model.log.clear()
    await handle.write(0, stamp("once"))
    assert not [line for line in world.sent(host) if "PREEMPT" in line]


async def test_a_busy_array_is_waited_for_and_not_for_ever(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", io_timeout_s=30)
    handle = await host.device.open()
    busy = world.model.interfere(BUSY, count=None, opcode=OpCode.READ_10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle.read, 0, 512)
        await trio.sleep(20)
        world.model.interferences.remove(busy)
    started_s = trio.current_time()
    world.model.interfere(BUSY, count=None, opcode=OpCode.READ_10)
    with pytest.raises(MpioError, match="BUSY"):
        await handle.read(0, 512)
    assert 30 <= trio.current_time() - started_s < 35
    assert _states(host) == [UnderpathState.UP] * 2


@pytest.mark.hazard(11, 19)
async def test_one_nexus_that_always_conflicts_does_not_use_the_request_up(
    autojump_clock: MockClock,
) -> None:
    """It is registered anew and conflicts all the same: after three times the request goes over another."""
    world = World()
    always_the_first = SelectionRules(SelectorName.FAILOVER_ONLY)
    rules = UnderpathRules(selection=always_the_first, no_path_timeout_s=0)
    host = await world.host("a", underpaths=3, rules=rules)
    handle = await host.device.open()
    world.model.interfere(
        RESERVATION_CONFLICT, count=None, opcode=OpCode.WRITE_10, nexus=host.nexus(0)
    )
    for number in range(6):
        world.model.log.clear()
        await handle.write(4096 * number, stamp(str(number)))
        assert 1 < world.sent(host).count("a1 WRITE") <= 4
    assert len(world.model.medium.history) == 6


async def test_a_broken_disk_is_tried_over_each_underpath_once(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a", underpaths=3)
    handle = await host.device.open()
    world.model.interfere(BROKEN_DISK, count=None, opcode=OpCode.READ_10)
    world.model.log.clear()
    with pytest.raises(MpioError, match="look at the array") as error:
        await handle.read(0, 512)
    assert not isinstance(error.value, NoUsableUnderpath)
    assert sorted(world.sent(host)) == ["a1 READ", "a2 READ", "a3 READ"]
    assert _states(host) == [UnderpathState.UP] * 3


@pytest.mark.expects_log("resized")
async def test_a_resize_that_is_told_is_followed_at_once(autojump_clock: MockClock) -> None:
    """The array tells it in place of a command: long before somebody would look by themselves."""
    world = World()
    host = await world.host("a")
    before = host.device.size_bytes
    handle = await host.device.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device, 1e6)
        world.model.resize(2 * world.model.medium.blocks)
        await handle.read(0, 512)
        await trio.sleep(0.1)
        assert host.device.size_bytes == 2 * before
        nursery.cancel_scope.cancel()
