"""An answer as text that can be compared: status, sense, and what the parameter data says."""

from collections.abc import Callable, Mapping

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.mode_sense import decode_mode_header
from mpio_fuse.scsi.opcodes import OpCode, PrIn
from mpio_fuse.scsi.pr_in import decode_full_status, decode_keys, decode_reservation
from mpio_fuse.scsi.sense import decode_sense
from mpio_fuse.scsi.transport_id import TransportId
from mpio_fuse.target.registrations import GENERATION_MODULUS
from tests.target.replay import BLOCK

Ports = Mapping[tuple[bytes, int], str]
"""The name of a nexus by its TransportID and relative target port."""

FULL = 32
"""Shorter PERSISTENT RESERVE IN answers may be cut off anywhere, and are compared as bytes."""

CAPACITY_16_BYTES = 12
"""Last block and block size; provisioning, which follows, is not the model's business."""


def text_of_sense(sense: bytes) -> str:
    """``6/29/00``."""
    decoded = decode_sense(sense)
    return f"{decoded.key:x}/{decoded.asc:02x}/{decoded.ascq:02x}"


def text_of_data(cdb: bytes, data: bytes, first_generation: int, ports: Ports) -> str:
    """What is compared of a GOOD answer's data; "" where that is nothing."""
    if cdb[0] == OpCode.PERSISTENT_RESERVE_IN:
        return _pr_in(cdb, data, first_generation, ports)
    text = _TEXTS.get(cdb[0])
    return f" {text(data)}" if text else ""


def _blocks(data: bytes) -> str:
    return f"blocks={[data[at] for at in range(0, len(data), BLOCK)]} of {len(data)}"


_TEXTS: dict[int, Callable[[bytes], str]] = {
    OpCode.READ_10: _blocks,
    OpCode.READ_16: _blocks,
    OpCode.READ_CAPACITY_10: bytes.hex,
    OpCode.SERVICE_ACTION_IN_16: lambda data: data[:CAPACITY_16_BYTES].hex(),
    OpCode.MODE_SENSE_6: lambda data: str(decode_mode_header(data)),
    OpCode.REQUEST_SENSE: lambda data: f"sense={text_of_sense(data)}",
}


def _pr_in(cdb: bytes, data: bytes, first_generation: int, ports: Ports) -> str:
    action, allocation = cdb[1] & 0x1F, int.from_bytes(cdb[7:9], "big")
    if action == PrIn.REPORT_CAPABILITIES:
        return f" data={data[:8].hex()}"
    generation = (int.from_bytes(data[:4], "big") - first_generation) % GENERATION_MODULUS
    prefix = f" gen={generation:x}"
    if allocation < FULL:
        length = min(allocation, 8 + int.from_bytes(data[4:8], "big"))
        return f"{prefix} rest={data[4:length].hex()}"
    try:
        return prefix + _DECODERS[PrIn(action)](data, ports)
    except DecodeError as error:
        return f"{prefix} {error}"


def _keys(data: bytes, _ports: Ports) -> str:
    keys = decode_keys(data)
    cut_off = f" of {keys.length_bytes} bytes" if keys.is_truncated else ""
    return f" keys={','.join(f'{int(key):x}' for key in keys.keys) or '-'}{cut_off}"


def _reservation(data: bytes, _ports: Ports) -> str:
    reservation = decode_reservation(data)
    if reservation.holder is None or reservation.type is None:
        return " free"
    return f" key={int(reservation.holder):x} type={reservation.type:d}"


def _full_status(data: bytes, ports: Ports) -> str:
    return "".join(
        f" [{_port(one.transport_id, one.relative_target_port, ports)}"
        f" {int(one.key):x}{' holds' if one.is_holder else ''}"
        f"{f' type={one.type:d}' if one.type is not None else ''}"
        f"{' all ports' if one.all_tg_pt else ''}]"
        for one in decode_full_status(data).registrants
    )


def _port(transport_id: TransportId | None, target_port: int, ports: Ports) -> str:
    raw = transport_id.raw if transport_id else b""
    return ports.get((raw, target_port), f"{raw.hex()} port {target_port}")


_DECODERS = {
    PrIn.READ_KEYS: _keys,
    PrIn.READ_RESERVATION: _reservation,
    PrIn.READ_FULL_STATUS: _full_status,
}
