"""Bytes at any offset, on disks of any block size, split as device and transports ask."""

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from mpio_fuse.errors import NoSpace
from mpio_fuse.scsi import block
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.target.logical_unit import LogicalUnitModel
from tests.device.world import World

SIZE_BYTES = 256 * 1024

WRITES = st.lists(
    st.tuples(st.integers(0, SIZE_BYTES - 1), st.integers(1, 20_000), st.integers(1, 255)),
    min_size=1,
    max_size=12,
)


@given(st.sampled_from([512, 4096]), WRITES)
def test_any_writes_read_back_as_from_a_plain_file(
    block_size_bytes: int, writes: list[tuple[int, int, int]]
) -> None:
    async def run() -> None:
        world = World(
            LogicalUnitModel(
                block_size_bytes=block_size_bytes, blocks=SIZE_BYTES // block_size_bytes
            )
        )
        handle = await (await world.host("a")).device.open()
        plain = bytearray(SIZE_BYTES)
        for offset, length, fill in writes:
            data = bytes([fill]) * min(length, SIZE_BYTES - offset)
            assert await handle.write(offset, bytes([fill]) * length) == len(data)
            plain[offset : offset + len(data)] = data
        for offset, length, _ in writes:
            assert bytes(await handle.read(offset, length)) == plain[offset : offset + length]
        assert bytes(await handle.read(0, SIZE_BYTES)) == plain

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def test_neighbours_in_one_block_written_at_once_keep_each_other(
    autojump_clock: MockClock,
) -> None:
    """Read-modify-write of a shared block: without the range lock one of the two is lost."""
    world = World(LogicalUnitModel(block_size_bytes=4096, blocks=64))
    host = await world.host("a")
    handle = await host.device.open()
    for link in host.links:
        link.arrival_s = link.answer_s = 0.1
    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(handle.write, number * 700, bytes([number + 1]) * 700)
    data = bytes(await handle.read(0, 16 * 700))
    assert data == b"".join(bytes([number + 1]) * 700 for number in range(16))


async def test_large_transfers_are_split_and_put_together(autojump_clock: MockClock) -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    data = bytes(range(256)) * (3 * 4096 + 7)
    assert len(data) > 2 * host.transports[0].max_transfer_bytes
    await handle.write(1000, data)
    assert bytes(await handle.read(1000, len(data))) == data


async def test_the_end_of_the_device() -> None:
    world = World(LogicalUnitModel(blocks=8))
    handle = await (await world.host("a")).device.open()
    assert await handle.write(4000, b"x" * 200) == 96
    assert bytes(await handle.read(4000, 200)) == b"x" * 96
    assert await handle.read(4096, 1) == b""
    assert await handle.write(4096, b"") == 0
    with pytest.raises(NoSpace, match="past the end"):
        await handle.write(4096, b"x")


async def test_a_durable_write_carries_fua_and_needs_no_flush() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    world.model.log.clear()
    await handle.write(0, b"d" * 512, durable=True)
    (entry,) = world.model.log
    assert entry.cdb[:2] == bytes((OpCode.WRITE_10, block.FUA))


async def test_a_durable_write_without_fua_is_flushed() -> None:
    world = World()
    host = await world.host("a")
    handle = await host.device.open()
    world.model.log.clear()
    geometry = attrs.evolve(host.device.geometry, has_fua=False)
    await host.device.data.write(handle.grant, geometry, 0, b"d" * 512, durable=True)
    assert [entry.cdb[0] for entry in world.model.log] == [
        OpCode.WRITE_10,
        OpCode.SYNCHRONIZE_CACHE_10,
    ]


async def test_a_durable_write_survives_a_power_loss_and_a_flush_makes_the_others() -> None:
    world = World()
    handle = await (await world.host("a")).device.open()
    await handle.write(0, b"d" * 512, durable=True)
    assert world.model.medium.unsynchronized_blocks == 0
    await handle.write(512, b"e" * 512)
    assert world.model.medium.unsynchronized_blocks == 1
    await handle.flush()
    assert world.model.medium.unsynchronized_blocks == 0
