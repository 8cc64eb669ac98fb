"""The commands of any logical unit: INQUIRY, REPORT LUNS, REQUEST SENSE, reservations (SPC-4 6)."""

from mpio_fuse.scsi.opcodes import PrIn, PrOut
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.target.pr_in import encode
from mpio_fuse.target.pr_out import ACTIONS
from mpio_fuse.target.pr_out_parameters import decode_pr_out
from mpio_fuse.target.refusal import INVALID_FIELD, INVALID_OPCODE, Refusal, check_condition
from mpio_fuse.target.registrations import attention_port
from mpio_fuse.target.state import Request, State

EVPD = 0x01
DPOFUA = 0x10
MINIMUM_PR_IN_LENGTH_BYTES = 8


def test_unit_ready(_state: State, _request: Request) -> bytes:
    """Always ready; what is pending was reported before this."""
    return b""


def mode_sense_6(_state: State, request: Request) -> bytes:
    """The mode parameter header alone: a disk that may be written and takes FUA (SBC-3 table 198)."""
    return bytes((3, 0, DPOFUA, 0))[: request.cdb.u8(4)]


def inquiry(state: State, request: Request) -> bytes:
    """Standard data, or the page that EVPD asks for."""
    page, allocation = request.cdb.u8(2), request.cdb.u16(3)
    if not request.cdb.u8(1) & EVPD:
        if page:
            raise Refusal(INVALID_FIELD)
        return state.identity.standard()[:allocation]
    data = state.identity.vpd(page, request.nexus.target_port)
    if data is None:
        raise Refusal(INVALID_FIELD)
    return data[:allocation]


def request_sense(state: State, request: Request) -> bytes:
    """The next unit attention as data, and it is thereby reported (6.39); else NO SENSE."""
    port = attention_port(request.nexus, state.quirks)
    pending = state.attentions.pending(port)
    if pending and state.quirks.request_sense_attends:
        raise Refusal(check_condition(SenseKey.UNIT_ATTENTION, pending[0]))
    code = state.attentions.report(port)
    sense = Sense(SenseKey.NO_SENSE) if code is None else Sense(SenseKey.UNIT_ATTENTION, *code)
    return encode_sense(sense)[: request.cdb.u8(4)]


def report_luns(_state: State, request: Request) -> bytes:
    """LUN 0 and this one, as a target shows it that keeps shared disks off LUN 0."""
    luns = bytes(8) + bytes((0, 1)) + bytes(6)
    return (len(luns).to_bytes(4, "big") + bytes(4) + luns)[: request.cdb.u32(6)]


def report_target_port_groups(state: State, request: Request) -> bytes:
    """The ports that were ever used."""
    if not state.quirks.has_target_port_groups:
        raise Refusal(INVALID_FIELD)
    ports = {nexus.target_port for nexus in state.persistent.nexuses}
    return state.port_groups.report(ports)[: request.cdb.u32(6)]


def reserve_6(state: State, request: Request) -> bytes:
    """RESERVE(6) of the whole logical unit."""
    state.scsi2.reserve(request.nexus, state.persistent)
    return b""


def release_6(state: State, request: Request) -> bytes:
    """RELEASE(6)."""
    state.scsi2.release(request.nexus, state.persistent)
    return b""


def reserve_10(state: State, request: Request) -> bytes:
    """RESERVE(10), where the array has it."""
    _check_reserve_10(state)
    return reserve_6(state, request)


def release_10(state: State, request: Request) -> bytes:
    """RELEASE(10), where the array has it."""
    _check_reserve_10(state)
    return release_6(state, request)


def _check_reserve_10(state: State) -> None:
    if not state.quirks.has_reserve_10:
        raise Refusal(INVALID_OPCODE)


def persistent_reserve_in(state: State, request: Request) -> bytes:
    """What is asked, for an ALLOCATION LENGTH with room for the header at least."""
    _check_persistent(state)
    action, allocation = request.cdb.u8(1) & 0x1F, request.cdb.u16(7)
    lacks = action == PrIn.READ_FULL_STATUS and not state.quirks.has_read_full_status
    if action not in set(PrIn) or lacks or allocation < MINIMUM_PR_IN_LENGTH_BYTES:
        raise Refusal(INVALID_FIELD)
    return encode(PrIn(action), state.persistent, allocation)


def persistent_reserve_out(state: State, request: Request) -> bytes:
    """Decode it and do it; what PREEMPT AND ABORT is to abort is left in the request."""
    _check_persistent(state)
    decoded = decode_pr_out(request.cdb.raw(0, 10), request.data_out, state.quirks)
    preempted = ACTIONS[decoded.action](state.persistent, request.nexus, decoded)
    if decoded.action is PrOut.PREEMPT_AND_ABORT:
        request.preempted = preempted
    return b""


def _check_persistent(state: State) -> None:
    if not state.quirks.has_persistent_reserve:
        raise Refusal(INVALID_OPCODE)
