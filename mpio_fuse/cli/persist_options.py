"""The actions of ``mpio-fuse persist`` and their options, also as sg_persist and mpathpersist call them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_types import PrType, Scope
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.transport_id import (
    ISCSI_SEPARATOR,
    Protocol,
    TransportId,
    fixed_transport_id,
    iscsi_transport_id,
)

Command = TypeVar("Command", bound=Callable[..., Any])

_PORTS = {
    "fc": Protocol.FIBRE_CHANNEL,
    "sas": Protocol.SAS,
    "srp": Protocol.SRP,
}


def pr_type(text: str) -> PrType:
    """A type from its number or name.

    Raises:
        UsageError: there is no such type.
    """
    wanted = _plain(text)
    for kind in PrType:
        if wanted in {str(int(kind)), f"0x{int(kind):x}", _plain(kind.title)}:
            return kind
    known = ", ".join(f"{int(kind)} {kind.title}" for kind in PrType)
    raise UsageError(f"{text!r} is not a reservation type", hint=f"these are: {known}")


def scope(text: str) -> Scope:
    """A scope from its number; only 0, the logical unit, is left in the standard.

    Raises:
        UsageError: there is no such scope.
    """
    if text not in {"0", "1", "2"}:
        raise UsageError(f"{text!r} is not a scope", hint="0 is the logical unit")
    return Scope(int(text))


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


def transport_id(text: str) -> TransportId:
    """``iqn...``, ``iqn...,i,0x<ISID>``, ``fc.<hex>``, ``sas.<hex>`` or ``srp.<hex>``.

    Raises:
        UsageError: anything else.
    """
    if text.startswith(("iqn.", "eui.", "naa.")):
        name, separator, isid = text.partition(ISCSI_SEPARATOR)
        return iscsi_transport_id(name, isid if separator else None)
    kind, _, digits = text.partition(".")
    if kind not in _PORTS:
        hint = "write iqn..., iqn...,i,0xISID, fc.HEX, sas.HEX or srp.HEX"
        raise UsageError(f"{text!r} is not an initiator port", hint=hint)
    try:
        return fixed_transport_id(_PORTS[kind], bytes.fromhex(digits))
    except ValueError:
        raise UsageError(f"{text!r}: not hexadecimal digits after '{kind}.'") from None


OPTIONS: dict[str, Callable[[Command], Command]] = {
    "key": click.option(
        "--key", "--param-rk", "-K", type=ReservationKey.parse, metavar="KEY",
        help="The key by which this nexus is registered; this host's unless given.",
    ),
    "old_key": click.option(
        "--key", "--param-rk", "-K", type=ReservationKey.parse, metavar="KEY",
        help="The key by which this nexus is registered now; 0 (not registered) unless given.",
    ),
    "new_key": click.option(
        "--new-key", "--param-sark", "-S", type=ReservationKey.parse, metavar="KEY",
        help="The key to register, 0 to unregister; this host's unless given.",
    ),
    "victim": click.option(
        "--new-key", "--victim", "--param-sark", "-S", type=ReservationKey.parse, metavar="KEY", required=True,
        help="The key to preempt.",
    ),
    "moved_to_key": click.option(
        "--new-key", "--param-sark", "-S", type=ReservationKey.parse, metavar="KEY", required=True,
        help="The key that the other port gets.",
    ),
    "type": click.option(
        "--type", "--prout-type", "-T", "kind", type=pr_type, metavar="TYPE",
        help="SPC's number or name; that of the reservation held, else 6, unless given.",
    ),
    "scope": click.option(
        "--scope", type=scope, metavar="SCOPE", default="0", show_default=True, help="0: logical unit."
    ),
    "aptpl": click.option(
        "--aptpl", "--param-aptpl", "-Z", is_flag=True,
        help="Let registrations and reservation survive a power loss of the target.",
    ),
    "all_tg_pt": click.option(
        "--all-tg-pt", "--param-alltgpt", "-Y", is_flag=True,
        help="Register on all target ports at once.",
    ),
    "transport_ids": click.option(
        "--transport-id", "-X", "transport_ids", type=transport_id, metavar="PORT", multiple=True,
        help="Register this initiator port too (SPEC_I_PT); may be repeated.",
    ),
    "moved_to": click.option(
        "--transport-id", "-X", "transport_ids", type=transport_id, metavar="PORT", multiple=True,
        required=True, help="The initiator port that gets the reservation.",
    ),
    "relative_target_port": click.option(
        "--relative-target-port", "-Q", type=click.IntRange(0, 0xFFFF), required=True,
        help="The target port over which it gets it.",
    ),
    "unregister": click.option(
        "--unreg", "-U", "unregister", is_flag=True, help="Unregister this nexus with it."
    ),
    "force": click.option(
        "--force", is_flag=True, help="Also on a LUN that a daemon of this host serves."
    ),
    "json": click.option(
        "--json", "as_json", is_flag=True, help="For programs; the keys are stable."
    ),
}  # fmt: skip
"""By the name of what they are for; the parameter that click passes has the option's own name."""

CHANGES: dict[str, tuple[PrOut, str, tuple[str, ...]]] = {
    "register": (
        PrOut.REGISTER,
        "Register every DEVICE's nexus, change its key, or unregister it.",
        ("old_key", "new_key", "aptpl", "all_tg_pt", "transport_ids"),
    ),
    "register-ignore": (
        PrOut.REGISTER_AND_IGNORE_EXISTING_KEY,
        "Register every DEVICE's nexus, whatever key it has now.",
        ("new_key", "aptpl", "all_tg_pt"),
    ),
    "reserve": (PrOut.RESERVE, "Reserve the LUN.", ("key", "type", "scope")),
    "release": (
        PrOut.RELEASE,
        "Release the reservation, over the DEVICE that holds it.",
        ("key", "type", "scope"),
    ),
    "preempt": (
        PrOut.PREEMPT,
        "Remove every registration with a key and take its reservation.",
        ("key", "victim", "type", "scope"),
    ),
    "preempt-abort": (
        PrOut.PREEMPT_AND_ABORT,
        "As preempt, and abort the commands of those removed.",
        ("key", "victim", "type", "scope"),
    ),
    "clear": (PrOut.CLEAR, "Remove the reservation and all registrations.", ("key",)),
    "register-move": (
        PrOut.REGISTER_AND_MOVE,
        "Give the reservation to another initiator port.",
        ("key", "moved_to_key", "moved_to", "relative_target_port", "unregister", "aptpl"),
    ),
    "replace-lost": (
        PrOut.REPLACE_LOST_RESERVATION,
        "Start over after the target lost its reservations.",
        ("new_key", "type", "scope"),
    ),
}
"""What changes something: its service action, what it does, and the options it takes."""

READS = {
    "read-keys": "Show the registered keys.",
    "read-reservation": "Show who holds the reservation, and its type.",
    "read-full-status": "Show every registration with its initiator port.",
    "report-capabilities": "Show what the target can do.",
}
