"""What ``mpio-fuse discover --json`` prints.  A contract: keys are added, never changed (docs/discover.md)."""

from typing import Any

from mpio_fuse.cli.discover_report import LunReport, Report
from mpio_fuse.device.discovered import BusyLun, FoundNode, Refusal
from mpio_fuse.device.reserve_facts import ReserveFacts
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.pr_in import Capabilities, Reservation

Document = dict[str, Any]


def as_document(report: Report) -> Document:
    """The whole answer."""
    return {
        "luns": [_lun(one) for one in report.luns],
        "in_use": [_busy(one) for one in report.discovery.in_use],
        "refused": [_refusal(one) for one in report.discovery.refused],
    }


def _lun(report: LunReport) -> Document:
    unit = report.lun.logical_unit
    return {
        "wwid": str(unit.wwid),
        "vendor": unit.vendor,
        "product": unit.product,
        "revision": unit.revision,
        **_capacity(unit.capacity),
        "max_transfer_blocks": unit.max_transfer_blocks,
        "has_persistent_reserve": unit.has_persistent_reserve,
        **_facts(report.facts),
        "underpaths": [_node(one) for one in report.lun.underpaths],
    }


def _capacity(capacity: Capacity | None) -> Document:
    return {
        "size_bytes": capacity.size_bytes if capacity else None,
        "block_size_bytes": capacity.block_size_bytes if capacity else None,
        "physical_block_size_bytes": capacity.physical_block_size_bytes if capacity else None,
    }


def _facts(facts: ReserveFacts | None) -> Document:
    keys = facts.keys if facts else None
    return {
        "capabilities": _capabilities(facts.capabilities) if facts and facts.capabilities else None,
        "generation": keys.generation if keys else None,
        "keys": [str(key) for key in keys.keys] if keys else None,
        "reservation": _reservation(facts.reservation) if facts and facts.reservation else None,
    }


def _capabilities(can: Capabilities) -> Document:
    return {
        "types": None if can.types is None else sorted(can.types),
        "persist_through_power_loss": can.has_persist_through_power_loss,
        "persist_through_power_loss_active": can.is_persist_through_power_loss_active,
        "specify_initiator_ports": can.has_spec_i_pt,
        "all_target_ports": can.has_all_tg_pt,
        "compatible_reservation_handling": can.has_compatible_reservation_handling,
    }


def _reservation(reservation: Reservation) -> Document:
    kind = reservation.type
    return {
        "is_held": reservation.is_held,
        "holder": str(reservation.holder) if reservation.holder else None,
        "type": int(kind) if kind else None,
        "type_name": kind.title if kind else None,
    }


def _busy(lun: BusyLun) -> Document:
    return {
        "wwid": str(lun.wwid),
        "vendor": lun.identity.vendor,
        "product": lun.identity.product,
        "revision": lun.identity.revision,
        "underpaths": [_node(one) for one in lun.underpaths],
    }


def _node(node: FoundNode) -> Document:
    return {
        "device_node": node.device_node,
        "address": node.address,
        "block_device": node.block_device,
        "transport": node.transport_kind,
        "nexus": dict(node.attachment.ends),
        "in_use": node.in_use,
    }


def _refusal(refusal: Refusal) -> Document:
    return {"device_node": refusal.device_node, "reason": refusal.reason}
