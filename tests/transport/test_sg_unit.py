"""The pieces of the sg transport that need no SCSI device."""

import errno
import math
import os
from pathlib import Path

import pytest

from mpio_fuse.errors import TransportError, TransportGone, UsageError
from mpio_fuse.scsi.block import read, synchronize_cache, write
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.data_phase import DataPhase, Direction
from mpio_fuse.transport.sg import native, open_sg, sense_text
from mpio_fuse.transport.sg import node as sg_node
from mpio_fuse.transport.sg.host_tags import host_tags_of, share_of
from mpio_fuse.transport.sg.native import (
    QUEUE_DEPTH,
    NodeFacts,
    SenseCategory,
    SgQueue,
    pass_through,
    sense_category,
)
from mpio_fuse.transport.sg.node import OpenNode
from mpio_fuse.transport.sg.routing import Lane, lane_of

PREEMPTED = bytes.fromhex("70 00 06 00 00 00 00 0a 00 00 00 00 2a 03 00 00 00 00")
NO_DATA = DataPhase(Direction.NONE, b"", 0)


def test_the_drivers_queue_is_as_deep_as_its_header_says() -> None:
    assert QUEUE_DEPTH == 16


# Routing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        read(0, bytearray(512), 512),
        read(1 << 33, bytearray(512), 512),
        write(0, bytes(512), 512),
        write(1 << 33, bytes(512), 512),
        synchronize_cache(),
        synchronize_cache(1 << 33, 1),
    ],
    ids=lambda command: command.name,
)
def test_data_commands_are_queued(command: Command) -> None:
    assert lane_of(command.cdb) is Lane.QUEUED


@pytest.mark.parametrize(
    "opcode", [0x00, 0x03, 0x12, 0x16, 0x17, 0x25, 0x5E, 0x5F, 0x9E, 0xA0, 0xA3, 0xFF]
)
def test_other_commands_get_a_thread(opcode: int) -> None:
    assert lane_of(bytes([opcode]) + bytes(15)) is Lane.THREADED


# Opening ---------------------------------------------------------------------------------------------------------


async def test_a_missing_node(tmp_path: Path) -> None:
    node = str(tmp_path / "sg77")
    with pytest.raises(TransportGone, match=f"^{node}: no such device node; .*lsscsi"):
        await open_sg(node)


@pytest.mark.parametrize(
    ("node", "kind"),
    [("/dev/null", "another character device"), ("/", "a directory"), (__file__, "a file")],
)
async def test_a_node_that_is_no_sg_node(node: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"^{node}: not a SCSI generic node but {kind}; "):
        await open_sg(node)


async def test_what_is_no_sg_node_is_not_even_opened(tmp_path: Path) -> None:
    """Opening a FIFO for reading and writing would succeed, and a tape's node rewinds it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = fifo.stat()
    with pytest.raises(UsageError):
        await open_sg(str(fifo))
    assert fifo.stat() == before


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (errno.EACCES, TransportError, "no permission to open it; run as root"),
        (errno.EPERM, TransportError, "no permission to open it; run as root"),
        (errno.EBUSY, TransportError, "another program holds it exclusively"),
        (errno.ENXIO, TransportGone, "no device behind this node"),
        (errno.ENODEV, TransportGone, "no device behind this node"),
        (errno.ENOTDIR, TransportGone, "no such device node"),
        (errno.EMFILE, TransportError, "cannot be opened: Too many open files"),
    ],
)
async def test_a_node_that_does_not_open(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[TransportError], text: str
) -> None:
    def refuse(_self: Path) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(kind, match=f"^/dev/sg0: {text}") as raised:
        await open_sg("/dev/sg0")
    assert type(raised.value) is kind
    assert raised.value.errno == code


def test_a_transfer_fits_into_a_scatter_list_of_single_pages() -> None:
    facts = NodeFacts(30536, (0, 0, 0, 1), scsi_type=0, max_bytes=1 << 24, max_segments=126)
    assert OpenNode(3, 4, facts).max_transfer_bytes == 126 * os.sysconf("SC_PAGE_SIZE")
    facts = NodeFacts(30536, (0, 0, 0, 1), scsi_type=0, max_bytes=1 << 16, max_segments=126)
    assert OpenNode(3, 4, facts).max_transfer_bytes == 1 << 16


def test_a_device_that_changes_between_the_two_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [
        NodeFacts(30536, (0, 0, 0, lun), scsi_type=0, max_bytes=1, max_segments=1) for lun in (1, 2)
    ]
    closed: list[int] = []
    fds = iter([101, 102])
    monkeypatch.setattr(sg_node, "_open_sg", lambda _node: next(fds))
    monkeypatch.setattr(native, "identify", lambda fd: facts[fd - 101])
    monkeypatch.setattr(os, "close", closed.append)
    with pytest.raises(TransportGone, match="changed while it was opened"):
        sg_node.open_node("/dev/sg0")
    assert closed == [101, 102]


# Host tags -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("can_queue", "share"), [(1, 1), (2, 1), (4, 3), (128, 96), (1024, 768)])
def test_some_of_a_hosts_tags_are_left_to_others(can_queue: int, share: int) -> None:
    assert share_of(can_queue) == share


def test_all_nodes_of_a_host_share_its_tags() -> None:
    tags = host_tags_of(4711)
    assert host_tags_of(4711) is tags
    assert host_tags_of(4712) is not tags


# The binding -----------------------------------------------------------------------------------------------------


def test_sense_in_words() -> None:
    assert sense_text(PREEMPTED) == (
        "Fixed format, current; Sense key: Unit Attention; Additional sense: Reservations preempted"
    )
    assert sense_text(b"") == ""


@pytest.mark.parametrize("sense", [b"\0", b"\x70", b"\x72\x03", b"\xff" * 252, bytes(255)])
def test_damaged_sense_is_one_line_of_text(sense: bytes) -> None:
    assert "\n" not in sense_text(sense)


def test_sense_categories() -> None:
    assert sense_category(PREEMPTED) is SenseCategory.UNIT_ATTENTION
    assert sense_category(bytes.fromhex("72 05 20 00 00 00 00 00")) is (
        SenseCategory.INVALID_OPERATION_CODE
    )
    assert SenseCategory(12345) is SenseCategory.SENSE


@pytest.mark.parametrize("timeout_s", [0.0, 1e-9, 30.0, 1e12, math.inf])
def test_a_refused_submit_raises_with_the_kernels_errno(timeout_s: float) -> None:
    queue = SgQueue(-1)
    with pytest.raises(OSError, match="write to the sg driver: Bad file") as raised:
        queue.submit(0, 1, bytes(6), NO_DATA, timeout_s)
    assert raised.value.errno == errno.EBADF


def test_reading_from_nothing_raises() -> None:
    with pytest.raises(OSError, match="read from the sg driver") as raised:
        SgQueue(-1).harvest(1)
    assert raised.value.errno == errno.EBADF


def test_an_end_of_file_is_no_answer() -> None:
    with Path("/dev/null").open("rb") as empty, pytest.raises(OSError, match="read from the sg"):
        SgQueue(empty.fileno()).harvest(1)


def test_a_closed_descriptor_is_hung_up() -> None:
    assert SgQueue(10_000).hung_up()


@pytest.mark.parametrize("timeout_s", [0.0, 0.2, 1e12, math.inf])
def test_a_refused_pass_through_raises(timeout_s: float) -> None:
    with Path("/dev/null").open("rb") as other, pytest.raises(OSError, match="pass-through"):
        pass_through(other.fileno(), test_unit_ready().cdb, NO_DATA, timeout_s)


def test_a_read_only_buffer_is_never_given_to_the_driver_for_data_in() -> None:
    phase = DataPhase(Direction.FROM_DEVICE, bytes(8), 8)
    with pytest.raises(BufferError):
        SgQueue(-1).submit(0, 1, inquiry(8).cdb, phase, 1.0)


def header(**fields: int) -> bytes:
    """An answer as the driver writes it: struct sg_io_hdr of a 64-bit kernel."""
    values = {"slot": 0, "tag": 1, "status": 0, "sense": 0, "host": 0, "driver": 0, "resid": 0}
    values.update(fields)
    return (
        b"S\0\0\0" + bytes(4) + bytes(8) + bytes(8 * 3) + bytes(8)
        + values["slot"].to_bytes(4, "little", signed=True) + bytes(4)
        + values["tag"].to_bytes(8, "little")
        + bytes([values["status"], 0, 0, values["sense"]])
        + values["host"].to_bytes(2, "little") + values["driver"].to_bytes(2, "little")
        + values["resid"].to_bytes(4, "little", signed=True) + bytes(12)
    )  # fmt: skip


def harvest_of(*headers: bytes, room: int = QUEUE_DEPTH) -> list[tuple[int, int, Completion]]:
    """What the binding makes of headers that a pipe, not a driver, gives it."""
    readable, writable = os.pipe()
    try:
        os.set_blocking(readable, False)
        os.write(writable, b"".join(headers))
        answers = SgQueue(readable).harvest(room)
    finally:
        os.close(readable)
        os.close(writable)
    return [(answer.slot, answer.tag, answer.completion) for answer in answers]


def test_everything_ready_is_taken_in_one_call() -> None:
    answers = harvest_of(header(slot=3, tag=7), header(slot=1, tag=9, status=2, host=3, driver=8))
    assert answers == [
        (3, 7, Completion()),
        (1, 9, Completion(status=2, host_status=HostStatus.TIME_OUT, driver_status=8)),
    ]


def test_half_an_answer_is_an_error() -> None:
    with pytest.raises(OSError, match="read from the sg driver"):
        harvest_of(header()[:60])


def test_no_more_is_taken_than_there_is_room_for() -> None:
    assert len(harvest_of(*[header()] * 5, room=2)) == 2


def test_nothing_ready_is_no_answer() -> None:
    assert harvest_of() == []


@pytest.mark.parametrize("residual", [-1, 1, 2**31 - 1, -(2**31)])
def test_a_residual_of_more_than_the_buffer_is_not_believed(residual: int) -> None:
    ((_, _, completion),) = harvest_of(header(resid=residual))
    assert completion.residual_bytes == 0


def test_sense_of_any_claimed_length_stays_in_its_buffer() -> None:
    ((_, _, completion),) = harvest_of(header(status=2, sense=255))
    assert completion.sense == bytes(252)


@pytest.mark.parametrize("slot", [-1, QUEUE_DEPTH, 2**31 - 1])
def test_an_answer_for_no_slot_touches_nothing(slot: int) -> None:
    ((given, _, _),) = harvest_of(header(slot=slot))
    assert given == slot
