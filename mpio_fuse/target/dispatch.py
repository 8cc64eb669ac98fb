"""Which function executes which command: the logical unit's command set, as data."""

from collections.abc import Callable

from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.target import block_commands as block
from mpio_fuse.target import primary_commands as primary
from mpio_fuse.target.access import (
    READ_CAPACITY_10,
    READ_CAPACITY_16,
    REPORT_TARGET_PORT_GROUPS,
    CommandKey,
    OtherOpCode,
    command_key,
)
from mpio_fuse.target.refusal import INVALID_FIELD, INVALID_OPCODE, Refusal
from mpio_fuse.target.state import Request, State

Handler = Callable[[State, Request], bytes]

HANDLERS: dict[CommandKey, Handler] = {
    (OpCode.TEST_UNIT_READY, None): primary.test_unit_ready,
    (OpCode.REQUEST_SENSE, None): primary.request_sense,
    (OpCode.INQUIRY, None): primary.inquiry,
    (OpCode.REPORT_LUNS, None): primary.report_luns,
    (OpCode.MODE_SENSE_6, None): primary.mode_sense_6,
    REPORT_TARGET_PORT_GROUPS: primary.report_target_port_groups,
    (OpCode.RESERVE_6, None): primary.reserve_6,
    (OpCode.RELEASE_6, None): primary.release_6,
    (OtherOpCode.RESERVE_10, None): primary.reserve_10,
    (OtherOpCode.RELEASE_10, None): primary.release_10,
    READ_CAPACITY_10: block.read_capacity_10,
    READ_CAPACITY_16: block.read_capacity_16,
    (OpCode.READ_10, None): block.read,
    (OpCode.READ_16, None): block.read,
    (OpCode.WRITE_10, None): block.write,
    (OpCode.WRITE_16, None): block.write,
    (OtherOpCode.WRITE_SAME_16, None): block.write_same,
    (OtherOpCode.VERIFY_10, None): block.verify,
    (OpCode.SYNCHRONIZE_CACHE_10, None): block.synchronize_cache,
    (OpCode.SYNCHRONIZE_CACHE_16, None): block.synchronize_cache,
}

_MOVE_DATA = {block.read, block.write, block.write_same}

TRANSFERS: frozenset[CommandKey] = frozenset(
    key for key, handler in HANDLERS.items() if handler in _MOVE_DATA
)
"""Commands whose work goes on in the backend when they are aborted."""

WITH_RANGE: frozenset[CommandKey] = TRANSFERS | {
    key for key, handler in HANDLERS.items() if handler in {block.verify, block.synchronize_cache}
}
"""Commands that name a range of blocks."""

WITH_ACTIONS_OF_THEIR_OWN: dict[int, Handler] = {
    OpCode.PERSISTENT_RESERVE_IN: primary.persistent_reserve_in,
    OpCode.PERSISTENT_RESERVE_OUT: primary.persistent_reserve_out,
}


def parse(state: State, request: Request) -> None:
    """What some arrays find out before they look at anything else.

    Raises:
        Refusal: INVALID COMMAND OPERATION CODE, INVALID FIELD, or a range beyond the end.
    """
    handler_of(request.cdb.data)
    if command_key(request.cdb.data) in WITH_RANGE:
        block.checked_range(state, request)


def handler_of(cdb: bytes) -> Handler:
    """The function for a CDB.

    Raises:
        Refusal: INVALID COMMAND OPERATION CODE, or INVALID FIELD for an unknown service action.
    """
    opcode, action = command_key(cdb)
    handler = WITH_ACTIONS_OF_THEIR_OWN.get(opcode) or HANDLERS.get((opcode, action))
    if handler is not None:
        return handler
    is_known = any(key[0] == opcode for key in HANDLERS)
    raise Refusal(INVALID_FIELD if is_known else INVALID_OPCODE)
