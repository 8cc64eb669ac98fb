"""The CDBs of the data path, byte for byte as SBC-3 draws them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi import block, capacity, inquiry, reserve6, sense, target_port_groups
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.report_luns import Lun, report_luns
from mpio_fuse.scsi.unit_ready import test_unit_ready as unit_ready


@pytest.mark.parametrize(
    ("command", "cdb"),
    [
        (block.read(0x01020304, bytearray(512), 512), "28 00 01 02 03 04 00 00 01 00"),
        (block.read(0xFFFFFFFF, bytearray(512), 512), "28 00 ff ff ff ff 00 00 01 00"),
        (
            block.read(0xFFFFFFFF, bytearray(1024), 512),
            "88 00 00 00 00 00 ff ff ff ff 00 00 00 02 00 00",
        ),
        (block.read(0, bytearray(0xFFFF * 512), 512), "28 00 00 00 00 00 00 ff ff 00"),
        (
            block.read(0, bytearray(0x10000 * 512), 512, fua=True),
            "88 08 00 00 00 00 00 00 00 00 00 01 00 00 00 00",
        ),
        (block.write(7, bytes(8192), 4096), "2a 00 00 00 00 07 00 00 02 00"),
        (block.write(7, bytes(4096), 4096, fua=True), "2a 08 00 00 00 07 00 00 01 00"),
        (
            block.write(1 << 40, bytes(512), 512),
            "8a 00 00 00 01 00 00 00 00 00 00 00 00 01 00 00",
        ),
        (block.synchronize_cache(), "35 00 00 00 00 00 00 00 00 00"),
        (block.synchronize_cache(1 << 32), "91 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00"),
        (reserve6.reserve6(), "16 00 00 00 00 00"),
        (reserve6.release6(), "17 00 00 00 00 00"),
        (unit_ready(), "00 00 00 00 00 00"),
        (sense.request_sense(), "03 00 00 00 fc 00"),
        (inquiry.inquiry_vpd(0x83, 0x1234), "12 01 83 12 34 00"),
        (capacity.read_capacity_10(), "25 00 00 00 00 00 00 00 00 00"),
        (capacity.read_capacity_16(), "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"),
        (report_luns(0x01020304), "a0 00 00 00 00 00 01 02 03 04 00 00"),
        (
            target_port_groups.report_target_port_groups(extended=True, length_bytes=512),
            "a3 2a 00 00 00 00 00 00 02 00 00 00",
        ),
    ],
    ids=lambda one: one.name if isinstance(one, Command) else "",
)
def test_cdb(command: Command, cdb: str) -> None:
    assert command.cdb.hex(" ") == cdb


def test_the_buffer_is_the_callers_own() -> None:
    buffer = bytearray(1024)
    view = memoryview(buffer)[512:]
    assert block.read(0, view, 512).data_in is view
    assert block.write(0, view, 512).data_out is view


@given(st.integers(0, (1 << 64) - 64), st.integers(1, 64), st.booleans())
def test_any_range_round_trips(lba: int, blocks: int, fua: bool) -> None:  # noqa: FBT001 (drawn)
    cdb = block.write(lba, bytes(blocks * 512), 512, fua=fua).cdb
    lba_end, blocks_start, blocks_end = (10, 10, 14) if len(cdb) == 16 else (6, 7, 9)
    assert int.from_bytes(cdb[2:lba_end], "big") == lba
    assert int.from_bytes(cdb[blocks_start:blocks_end], "big") == blocks
    assert (cdb[1] == 0x08) == fua


@pytest.mark.parametrize(
    ("lba", "length_bytes"), [(0, 0), (0, 511), (0, 513), (-1, 512), (1 << 64, 512)]
)
def test_ranges_that_no_cdb_can_say_are_refused(lba: int, length_bytes: int) -> None:
    with pytest.raises(UsageError):
        block.read(lba, bytearray(length_bytes), 512)


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("00 00 00 00 00 00 00 00", 0),
        ("00 ff 00 00 00 00 00 00", 255),
        ("01 00 00 00 00 00 00 00", None),
        ("41 02 00 00 00 00 00 00", 0x102),
        ("00 01 00 02 00 00 00 00", None),
        ("81 01 00 00 00 00 00 00", None),
        ("c1 01 00 00 00 00 00 00", None),
    ],
)
def test_lun_numbers(raw: str, number: int | None) -> None:
    assert Lun(bytes.fromhex(raw)).number == number
