"""The commands of a disk: READ, WRITE, WRITE SAME, SYNCHRONIZE CACHE, READ CAPACITY (SBC-3 5)."""

from mpio_fuse.scsi.block import FUA
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.scsi.sense_codes import LBA_OUT_OF_RANGE, WRITE_PROTECTED, Code
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.refusal import (
    INVALID_FIELD,
    Ending,
    Refusal,
    check_condition,
    illegal_request,
)
from mpio_fuse.target.state import Request, State

MAXIMUM_LBA_10 = 0xFFFF_FFFF
FIRST_16_BYTE_OPCODE = 0x80
UNRECOVERED_READ_ERROR: Code = (0x11, 0x00)


def read(state: State, request: Request) -> bytes:
    """READ(10) and (16); a length of 0 is no error and moves nothing (5.10)."""
    lba, blocks = checked_range(state, request)
    bad = state.medium.first_bad_block(lba, blocks)
    if bad is not None:
        sense = Sense(SenseKey.MEDIUM_ERROR, *UNRECOVERED_READ_ERROR, information=bad)
        raise Refusal(Ending(Status.CHECK_CONDITION, encode_sense(sense)))
    data = state.medium.read(lba, blocks)
    state.record(request, Kind.READ, lba, data)
    return data


def write(state: State, request: Request) -> bytes:
    """WRITE(10) and (16)."""
    _check_writable(state)
    lba, blocks = checked_range(state, request)
    length_bytes = blocks * state.medium.block_size_bytes
    if len(request.data_out) < length_bytes:
        raise Refusal(INVALID_FIELD)
    data = request.data_out[:length_bytes]
    state.medium.write(lba, data, fua=bool(request.cdb.u8(1) & FUA))
    state.record(request, Kind.WRITE, lba, data)
    return b""


def write_same(state: State, request: Request) -> bytes:
    """WRITE SAME(16) of one block; a length of 0 means to the end."""
    _check_writable(state)
    lba, blocks = checked_range(state, request)
    blocks = blocks or state.medium.blocks - lba
    data = request.data_out[: state.medium.block_size_bytes] * blocks
    if len(request.data_out) != state.medium.block_size_bytes:
        raise Refusal(INVALID_FIELD)
    state.medium.write(lba, data)
    state.record(request, Kind.WRITE, lba, data)
    return b""


def verify(state: State, request: Request) -> bytes:
    """VERIFY(10) without a comparison: the blocks can be read."""
    checked_range(state, request)
    return b""


def synchronize_cache(state: State, request: Request) -> bytes:
    """SYNCHRONIZE CACHE(10) and (16); 0 blocks means to the end (5.22)."""
    lba, blocks = checked_range(state, request)
    state.medium.synchronize(lba, blocks or state.medium.blocks - lba)
    return b""


def read_capacity_10(state: State, _request: Request) -> bytes:
    """The last block, or FFFFFFFFh when it takes READ CAPACITY(16) to say it (5.15.2)."""
    last_lba = min(state.medium.blocks - 1, MAXIMUM_LBA_10)
    return last_lba.to_bytes(4, "big") + state.medium.block_size_bytes.to_bytes(4, "big")


def read_capacity_16(state: State, _request: Request) -> bytes:
    """5.16.2: the last block, the block size, and how many make a physical one."""
    last_lba = (state.medium.blocks - 1).to_bytes(8, "big")
    size = state.medium.block_size_bytes.to_bytes(4, "big")
    return last_lba + size + bytes((0, state.identity.physical_exponent)) + bytes(18)


def _check_writable(state: State) -> None:
    if state.medium.is_write_protected:
        raise Refusal(check_condition(SenseKey.DATA_PROTECT, WRITE_PROTECTED))


def checked_range(state: State, request: Request) -> tuple[int, int]:
    """The LBA and the number of blocks, which are there.

    Raises:
        Refusal: LOGICAL BLOCK ADDRESS OUT OF RANGE, or longer than this logical unit takes.
    """
    cdb = request.cdb
    is_long = cdb.u8(0) >= FIRST_16_BYTE_OPCODE
    lba = cdb.u64(2) if is_long else cdb.u32(2)
    blocks = cdb.u32(10) if is_long else cdb.u16(7)
    if lba + max(blocks, 1) > state.medium.blocks:
        raise Refusal(illegal_request(LBA_OUT_OF_RANGE))
    if state.identity.max_transfer_blocks and blocks > state.identity.max_transfer_blocks:
        raise Refusal(INVALID_FIELD)
    return lba, blocks
