"""What ``mpio-fuse persist`` prints for people, made of the documents that programs get."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from mpio_fuse.cli.columns import columns
from mpio_fuse.scsi.pr_types import PrType

Document = Mapping[str, Any]
WIDE = 1000
"""Of a table that is too wide, the terminal breaks lines; rich would cut names."""

ABILITIES = {
    "persist_through_power_loss": "can persist through power loss (APTPL)",
    "persist_through_power_loss_active": "persists through power loss now",
    "specify_initiator_ports": "can register other initiator ports (SPEC_I_PT)",
    "all_target_ports": "can register all target ports at once (ALL_TG_PT)",
    "compatible_reservation_handling": "compatible handling of SCSI-2 RESERVE (CRH)",
}


def show(document: Document) -> None:
    """Print whichever parts the document has."""
    console = Console(width=WIDE, highlight=False, markup=False, emoji=False)
    console.print(Text(str(document["lun"]), style="bold"))
    if "registrants" in document:
        _show_registrants(console, document)
    if "capabilities" in document:
        _show_capabilities(console, document["capabilities"])
    if "keys" in document:
        _show_keys(console, document["keys"])
    if "reservation" in document:
        console.print(Text(f"reservation: {reservation_text(document['reservation'])}"))
    if "generation" in document:
        console.print(Text(f"generation: {document['generation']:#x}"))


def reservation_text(reservation: Document) -> str:
    """``key 0x..., type 6, Exclusive Access, registrants only``, or ``none``."""
    if not reservation["is_held"]:
        return "none"
    kind = PrType(reservation["type"])
    who = "every registrant" if kind.is_all_registrants else f"key {reservation['holder']}"
    return f"{who}, type {int(kind)}, {kind.title}"


def _show_keys(console: Console, keys: Sequence[str]) -> None:
    if not keys:
        console.print(Text("registrations: none"))
        return
    counts = Counter(keys)
    rows = ((key, str(count)) for key, count in counts.items())
    console.print(columns(("registered key", "nexuses"), rows))


def _show_registrants(console: Console, document: Document) -> None:
    registrants = document["registrants"]
    if not registrants:
        console.print(Text("registrations: none"))
    else:
        titles = ("registered key", "holds", "target port", "initiator port")
        console.print(columns(titles, (_registrant(one) for one in registrants)))
    if not document["is_complete"]:
        shown = f"{len(registrants)} of {document['registrations']}"
        console.print(Text(f"incomplete: the target shows {shown} registrations", style="yellow"))


def _registrant(one: Document) -> tuple[str, ...]:
    holds = f"type {one['type']}, {one['type_name']}" if one["is_holder"] else ""
    port = "all" if one["all_target_ports"] else str(one["relative_target_port"])
    return one["key"], holds, port, one["transport_id"] or "not told"


def _show_capabilities(console: Console, can: Document) -> None:
    for name, text in ABILITIES.items():
        console.print(Text(f"{'yes' if can[name] else 'no':<4}{text}"))
    if can["types"] is None:
        console.print(Text("types: the target does not list them"))
        return
    for kind in PrType:
        supported = "yes" if kind in can["types"] else "no"
        console.print(Text(f"{supported:<4}type {int(kind)}, {kind.title}"))
