"""The default open end to end on the simulated disk: Figures 5, 7, 11, 12 and 6 as commands."""

import errno

import pytest

from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO, SPC, TGT, Quirks
from mpio_fuse.target.refusal import Ending
from tests.device.world import KEYS, World, stamp


async def test_configuring_registers_every_underpath_and_reserves_nothing() -> None:
    world = World()
    await world.host("a")
    assert world.keys == [KEYS["a"]] * 2
    assert world.holder is None


async def test_the_first_open_reserves_and_the_last_close_releases() -> None:
    world = World()
    host = await world.host("a")
    first = await host.device.open()
    assert world.holder == KEYS["a"]
    second = await host.device.open()
    await first.aclose()
    assert world.holder == KEYS["a"]
    await second.aclose()
    assert world.holder is None
    assert world.keys == [KEYS["a"]] * 2  # a standby stays registered


async def test_what_is_written_is_read_and_both_underpaths_carry_it() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    for number in range(8):
        await handle.write(number * 4096, stamp(f"block {number}"))
    for number in range(8):
        assert bytes(await handle.read(number * 4096, 4096)) == stamp(f"block {number}")
    for underpath in host.device.underpaths:
        assert underpath.counters.writes == 4
        assert underpath.counters.reads == 4
        assert underpath.counters.bytes_written == 4 * 4096
    await handle.aclose()


async def test_another_host_is_refused_with_eio_until_the_close() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    with pytest.raises(OpenRefused, match=f"reserved by key {KEYS['a']}") as refusal:
        await b.device.open()
    assert refusal.value.errno == errno.EIO
    await handle.write(0, stamp("from a"))
    await handle.aclose()
    handle = await b.device.open()
    assert bytes(await handle.read(0, 4096)) == stamp("from a")
    await handle.aclose()


async def test_a_refused_standby_sends_no_data_command() -> None:
    """Type 6 would let it: its registration stands.  The device is what does not."""
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await a.device.open()
    world.model.log.clear()
    with pytest.raises(OpenRefused):
        await b.device.open()
    assert not {"READ", "WRITE"} & {line.split()[1] for line in world.sent(b)}


async def test_an_unregistered_standby_leaves_nothing_at_the_array() -> None:
    world = World()
    a = await world.host("a", standby="unregistered")
    assert world.keys == []
    handle = await a.device.open()
    assert world.keys == [KEYS["a"]] * 2
    b = await world.host("b", standby="unregistered")
    with pytest.raises(OpenRefused):
        await b.device.open()
    assert world.keys == [KEYS["a"]] * 2
    await handle.aclose()
    assert world.keys == []


async def test_the_size_is_learnt_although_another_host_holds_the_disk() -> None:
    """LIO answers READ CAPACITY with a conflict to who is not registered."""
    world = World()
    a = await world.host("a")
    await a.device.open()
    b = await world.host("b")
    assert b.device.logical_unit.capacity is None
    assert b.device.size_bytes == a.device.size_bytes == 64 << 20


async def test_unmounting_takes_every_registration_back() -> None:
    world = World()
    host = await world.host("a")
    await host.device.remove()
    assert world.keys == []


@pytest.mark.parametrize("quirks", [LIO, SPC, TGT], ids=["lio", "spc", "tgt"])
@pytest.mark.expects_log("underpath down|barrier without abort")
async def test_unmounting_takes_back_what_a_dead_underpath_cannot(quirks: Quirks) -> None:
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a", underpaths=3)
    await world.host("b")
    handle = await host.device.open()
    host.links[0].go_down()
    for _ in range(3):
        await handle.read(0, 4096)  # no barrier, which would have removed it
    await handle.aclose()
    await host.device.remove()
    assert world.keys == [KEYS["b"]] * 2


@pytest.mark.expects_log("unregister failed")
async def test_unmounting_says_what_it_had_to_leave_at_the_array() -> None:
    world = World()
    host = await world.host("a")
    for link in host.links:
        link.go_down()
    with pytest.raises(MpioError, match="left at the array: no underpath answers"):
        await host.device.remove()
    assert world.keys == [KEYS["a"]] * 2


@pytest.mark.hazard(7)
async def test_unmounting_with_an_open_file_flushes_and_releases_first() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    await handle.write(0, stamp("kept"))
    assert world.model.medium.unsynchronized_blocks == 8
    await host.device.remove()
    assert world.model.medium.unsynchronized_blocks == 0
    assert (world.holder, world.keys) == (None, [])
    sent = [line.split()[1] for line in world.sent(host)]
    assert sent.index("SYNCHRONIZE_CACHE") < sent.index("RELEASE")


async def test_after_a_crash_our_own_reservation_is_found_kept_and_released_by_the_close() -> None:
    world = World()
    crashed = await world.host("a")
    await crashed.device.open()
    again = await world.host("a")  # the same nexuses: a new daemon on the same host
    assert world.holder == KEYS["a"]
    assert [one.counters.failures for one in again.device.underpaths] == [0, 0]
    handle = await again.device.open()
    assert "RESERVE" not in {line.split()[1] for line in world.sent(again)}
    await handle.write(0, stamp("new life"))
    await handle.aclose()
    assert world.holder is None


@pytest.mark.hazard(12)
@pytest.mark.expects_log("underpath down")
async def test_a_release_is_tried_on_each_nexus_when_nobody_remembers_which_one_holds() -> None:
    """RELEASE by another registrant is GOOD and does nothing."""
    world = World()
    crashed = await world.host("a")
    crashed.links[0].go_down()
    await crashed.device.open()  # the reservation is on underpath 2
    crashed.links[0].come_up()
    again = await world.host("a")
    for underpath in again.device.underpaths:
        underpath.has_lost_write = False  # or the barrier before the release would tell who holds
    await again.device.release_retained()
    assert world.holder is None
    assert [line for line in world.sent(again) if "RELEASE" in line] == ["a1 RELEASE", "a2 RELEASE"]


async def test_after_a_crash_the_first_write_waits_for_what_the_former_life_sent() -> None:
    """A write that was under way when the daemon died must not land over a newer one."""
    world = World()
    crashed = await world.host("a")
    await crashed.device.open()
    again = await world.host("a")
    handle = await again.device.open()
    assert not [line for line in world.sent(again) if "PREEMPT" in line]
    await handle.write(0, stamp("new life"))
    sent = world.sent(again)
    preempts = [line for line in sent if "PREEMPT" in line]
    assert sorted(preempts) == ["a1 PREEMPT_AND_ABORT", "a2 PREEMPT_AND_ABORT"]
    assert all(one.is_usable for one in again.device.underpaths)
    assert max(sent.index(line) for line in preempts) < min(
        number for number, line in enumerate(sent) if "WRITE" in line
    )


async def test_tgt_runs_the_same_story() -> None:
    world = World(LogicalUnitModel(TGT))
    a, b = await world.host("a"), await world.host("b")
    handle = await a.device.open()
    with pytest.raises(OpenRefused):
        await b.device.open()
    await handle.write(0, stamp("tgt"))
    await handle.aclose()
    handle = await b.device.open()
    assert bytes(await handle.read(0, 4096)) == stamp("tgt")
    await handle.aclose()


@pytest.mark.expects_log("underpath down")
async def test_one_dead_underpath_does_not_keep_the_disk_from_opening() -> None:
    world = World()
    host = await world.host("a")
    host.links[0].go_down()
    handle = await host.device.open()
    await handle.write(0, stamp("over the other"))
    assert host.device.underpaths[1].counters.writes == 1
    await handle.aclose()
    assert world.holder is None


async def test_a_disk_whose_underpaths_all_fail_to_register_is_named_with_the_reasons() -> None:
    world = World()
    refuse = Ending(Status.CHECK_CONDITION, encode_sense(Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0)))
    world.model.interfere(refuse, count=None, opcode=OpCode.PERSISTENT_RESERVE_OUT)
    with pytest.raises(NoUsableUnderpath, match=r"no underpath could be registered \(a1: .*a2: "):
        await world.host("a")


@pytest.mark.hazard(4)
async def test_a_key_that_another_host_uses_is_refused() -> None:
    """Cloned machines have one machine-id, and so one key; the array would let both write."""
    world = World()
    a = await world.host("a")
    handle = await a.device.open()
    keys = dict(KEYS)
    try:
        KEYS["b"] = KEYS["a"]
        with pytest.raises(OpenRefused, match=r"iqn\.host-a and iqn.host-b"):
            await world.host("b")
    finally:
        KEYS.update(keys)
    assert world.keys == [KEYS["a"]] * 2
    assert world.holder == KEYS["a"]
    await handle.write(0, stamp("still mine"))


async def test_refusing_a_shared_key_takes_nothing_from_the_other_host() -> None:
    """With an underpath of ours silent, the other host's registration looks like one that it left."""
    world = World()
    a = await world.host("a", underpaths=1)
    handle = await a.device.open()
    keys = dict(KEYS)
    try:
        KEYS["b"] = KEYS["a"]
        with pytest.raises(OpenRefused, match=r"iqn\.host-a and"):
            await world.host("b", is_down=(2,))
    finally:
        KEYS.update(keys)
    assert world.keys == [KEYS["a"]]
    await handle.write(0, stamp("still mine"))


@pytest.mark.hazard(4)
async def test_a_key_that_another_host_takes_into_use_later_is_refused_at_the_open() -> None:
    world = World()
    a = await world.host("a", standby="unregistered")
    keys = dict(KEYS)
    try:
        KEYS["b"] = KEYS["a"]
        b = await world.host("b", standby="unregistered")
    finally:
        KEYS.update(keys)
    handle = await a.device.open()
    with pytest.raises(OpenRefused, match=r"iqn\.host-a and iqn.host-b"):
        await b.device.open()
    assert world.holder == KEYS["a"]
    await handle.write(0, stamp("still mine"))


@pytest.mark.hazard(31)
@pytest.mark.expects_log("underpath down")
async def test_with_every_underpath_dead_the_open_is_eio_and_says_why() -> None:
    world = World()
    host = await world.host("a")
    for link in host.links:
        link.go_down()
    with pytest.raises(OpenRefused, match=r"a1: .*NO_CONNECT.*a2: ") as refusal:
        await host.device.open()
    assert refusal.value.errno == errno.EIO
