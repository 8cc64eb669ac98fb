"""What ``mpio-fuse discover --json`` prints.  A contract: keys are added, never changed (docs/discover.md)."""

from typing import Any

from mpio_fuse.cli.discover_report import LunReport, Report
from mpio_fuse.daemon.reserve_reading import capabilities_document, reservation_document
from mpio_fuse.device.discovered import BusyLun, FoundNode, Refusal
from mpio_fuse.device.reserve_facts import ReserveFacts
from mpio_fuse.scsi.capacity import Capacity

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
        "capabilities": capabilities_document(facts.capabilities)
        if facts and facts.capabilities
        else None,
        "generation": keys.generation if keys else None,
        "keys": [str(key) for key in keys.keys] if keys else None,
        "reservation": reservation_document(facts.reservation)
        if facts and facts.reservation
        else None,
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
