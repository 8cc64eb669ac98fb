"""What ``mpio-fuse discover`` prints for people: a tree for each LUN, then what was refused and why."""

from collections.abc import Iterator, Sequence

from rich.text import Text
from rich.tree import Tree

from mpio_fuse.cli.discover_report import LunReport, Report
from mpio_fuse.cli.sizes import size_text
from mpio_fuse.device.discovered import BusyLun, FoundNode, Refusal
from mpio_fuse.scsi.pr_in import Capabilities, Keys, Reservation
from mpio_fuse.scsi.pr_types import PrType

PATENT_TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


def as_trees(report: Report) -> Iterator[Tree | Text]:
    """LUNs, then LUNs in use, then refusals.  Named nodes are left out: they are errors, and told as such."""
    for one in report.luns:
        yield _lun(one)
    for lun in report.discovery.in_use:
        yield _busy(lun)
    told = {node.device_node for lun in report.discovery.in_use for node in lun.underpaths}
    refused = [one for one in report.discovery.refused if not one.is_named]
    notes = [one for one in refused if one.device_node not in told]
    if notes:
        yield _refused(notes)
    if not report.luns and not report.discovery.refused:
        yield Text(
            "No SCSI disks here: there are no /dev/sg* nodes ('modprobe sg' loads their driver)."
        )


def _lun(report: LunReport) -> Tree:
    unit = report.lun.logical_unit
    tree = _titled(str(unit.wwid), unit.vendor, unit.product)
    tree.add(Text(f"size: {_size(report)}"))
    tree.add(Text(f"persistent reserve: {_persistent_reserve(report)}"))
    if report.facts:
        tree.add(Text(f"reservation: {_reservation(report.facts.reservation)}"))
        tree.add(Text(f"registrations: {_registrations(report.facts.keys)}"))
    _add_underpaths(tree, report.lun.underpaths)
    return tree


def _busy(lun: BusyLun) -> Tree:
    tree = _titled(str(lun.wwid), lun.identity.vendor, lun.identity.product)
    tree.add(Text(f"in use on this host: {lun.in_use}", style="yellow"))
    _add_underpaths(tree, lun.underpaths)
    return tree


def _refused(notes: list[Refusal]) -> Tree:
    tree = Tree(Text("refused", style="bold"))
    for note in notes:
        tree.add(Text(f"{note.device_node}: {note.reason}"))
    return tree


def _titled(wwid: str, vendor: str, product: str) -> Tree:
    return Tree(Text.assemble((wwid, "bold"), f"  {vendor} {product}".rstrip()))


def _size(report: LunReport) -> str:
    capacity = report.lun.logical_unit.capacity
    if capacity is None:
        reservation = report.facts.reservation if report.facts else None
        is_reserved = reservation is not None and reservation.is_held
        return (
            "unknown: reserved by another host"
            if is_reserved
            else "unknown: the target does not tell it now"
        )
    physical = capacity.physical_block_size_bytes
    emulation = f" ({physical} physical)" if physical != capacity.block_size_bytes else ""
    return (
        f"{size_text(capacity.size_bytes)}, blocks of {capacity.block_size_bytes} bytes{emulation}"
    )


def _persistent_reserve(report: LunReport) -> str:
    if not report.lun.logical_unit.has_persistent_reserve:
        return "no; single path with SCSI-2 RESERVE(6)"
    capabilities = report.facts.capabilities if report.facts else None
    notes = list(_notes(capabilities)) if capabilities else []
    return f"yes ({', '.join(notes)})" if notes else "yes"


def _notes(can: Capabilities) -> Iterator[str]:
    if can.types is not None and PATENT_TYPE not in can.types:
        yield f"without {PATENT_TYPE.title}"
    if can.is_persist_through_power_loss_active:
        yield "survives power loss"
    elif can.has_persist_through_power_loss:
        yield "can survive power loss"
    else:
        yield "lost with power"


def _reservation(reservation: Reservation | None) -> str:
    if reservation is None:
        return "unknown: the target does not tell it now"
    if reservation.type is None:
        return "none"
    if reservation.type.is_all_registrants:
        return f"{reservation.type.title}, by every registrant"
    return f"{reservation.type.title}, by key {reservation.holder}"


def _registrations(keys: Keys | None) -> str:
    if keys is None:
        return "unknown: the target does not tell them now"
    counts = {key: keys.keys.count(key) for key in dict.fromkeys(keys.keys)}
    return (
        ", ".join(
            f"key {key} on {count} nexuses" if count > 1 else f"key {key}"
            for key, count in counts.items()
        )
        or "none"
    )


def _add_underpaths(tree: Tree, nodes: Sequence[FoundNode]) -> None:
    widths = [max(len(row[column]) for row in map(_columns, nodes)) for column in range(3)]
    for node in nodes:
        cells = [cell.ljust(width) for cell, width in zip(_columns(node), widths, strict=True)]
        tree.add(Text("  ".join([*cells, _nexus(node)]).rstrip()))


def _columns(node: FoundNode) -> tuple[str, str, str]:
    return node.device_node, node.address or "-", node.block_device or "-"


def _nexus(node: FoundNode) -> str:
    ends = node.attachment.ends
    words = [
        node.transport_kind,
        ends.get("initiator", ""),
        "->" if ends else "",
        ends.get("target", ""),
    ]
    if "portal" in ends:
        words.append(f"at {ends['portal']}")
    return " ".join(word for word in words if word) + (f"  [{node.in_use}]" if node.in_use else "")
