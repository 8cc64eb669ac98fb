"""What PERSISTENT RESERVE IN tells, as plain data: ``persist --json`` prints it, so it is a contract (docs/persist.md).

The command asks so over nodes, and the daemon over the underpaths of a LUN that it serves.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.pr_in import Capabilities, Registrant, Reservation

Document = dict[str, Any]


async def read(reader: ReserveReader, action: str) -> Document:
    """Do the reading action of that name.

    Raises:
        UsageError: there is none of that name.
        MpioError: no usable answer.
    """
    reading = READINGS.get(action)
    if reading is None:
        raise UsageError(f"{action}: not an action that reads", lun=reader.lun)
    return await reading(reader)


async def _read_keys(reader: ReserveReader) -> Document:
    keys = await reader.keys()
    return {"generation": keys.generation, "keys": [str(key) for key in keys.keys]}


async def _read_reservation(reader: ReserveReader) -> Document:
    reservation = await reader.reservation()
    return {
        "generation": reservation.generation,
        "reservation": reservation_document(reservation),
    }


async def _read_full_status(reader: ReserveReader) -> Document:
    full = await reader.full_status()
    return {
        "generation": full.status.generation,
        "is_complete": full.is_complete,
        "registrations": full.registrations,
        "registrants": [_registrant(one) for one in full.status.registrants],
    }


async def _report_capabilities(reader: ReserveReader) -> Document:
    return {"capabilities": capabilities_document(await reader.capabilities())}


READINGS: Mapping[str, Callable[[ReserveReader], Awaitable[Document]]] = {
    "read-keys": _read_keys,
    "read-reservation": _read_reservation,
    "read-full-status": _read_full_status,
    "report-capabilities": _report_capabilities,
}


def state_document(state: ReserveState) -> Document:
    """Keys and reservation together: what a change is followed by."""
    return {
        "generation": state.reservation.generation,
        "keys": [str(key) for key in state.keys],
        "reservation": reservation_document(state.reservation),
    }


def reservation_document(reservation: Reservation) -> Document:
    """READ RESERVATION; ``type`` is SPC's number.  With a type of all registrants ``holder`` is key 0."""
    kind = reservation.type
    return {
        "is_held": reservation.is_held,
        "holder": str(reservation.holder) if reservation.holder else None,
        "type": int(kind) if kind else None,
        "type_name": kind.title if kind else None,
    }


def capabilities_document(can: Capabilities) -> Document:
    """REPORT CAPABILITIES; ``types`` None: the target does not list them."""
    return {
        "types": None if can.types is None else sorted(can.types),
        "persist_through_power_loss": can.has_persist_through_power_loss,
        "persist_through_power_loss_active": can.is_persist_through_power_loss_active,
        "specify_initiator_ports": can.has_spec_i_pt,
        "all_target_ports": can.has_all_tg_pt,
        "compatible_reservation_handling": can.has_compatible_reservation_handling,
    }


def _registrant(one: Registrant) -> Document:
    identity = one.transport_id
    return {
        "key": str(one.key),
        "is_holder": one.is_holder,
        "type": int(one.type) if one.type else None,
        "type_name": one.type.title if one.type else None,
        "all_target_ports": one.all_tg_pt,
        "relative_target_port": None if one.all_tg_pt else one.relative_target_port,
        "transport_id": str(identity) if identity else None,
        "transport_id_hex": identity.raw.hex() if identity else None,
    }
