"""Identities that people have written down, in a configuration say: the inverse of `str` of a `Wwid`."""

import re
from urllib.parse import unquote_to_bytes

from mpio_fuse.scsi.identity import WwidKind, logical_unit_wwid
from mpio_fuse.scsi.vpd import Association, CodeSet, Designator, DesignatorType

_BINARY = {WwidKind.NAA: DesignatorType.NAA, WwidKind.EUI: DesignatorType.EUI_64}
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_SHORTENED = re.compile(r"[^~]{100}~[0-9a-f]{64}")
"""A name too long for a file ends in its digest."""


def wwid_name(text: str) -> str:
    """The name as `str` of its `Wwid` has it.  Upper and lower case are the same, but in a T10 vendor's own text.

    Raises:
        ValueError: no logical unit can have that identity.
    """
    word, _, rest = text.partition(".")
    try:
        kind = WwidKind(word.lower())
    except ValueError:
        raise _no_wwid(text, "does not begin with naa., eui. or t10.") from None
    if kind is WwidKind.T10 and _SHORTENED.fullmatch(rest):
        return f"{kind.value}.{rest}"
    wwid = logical_unit_wwid([_designator(kind, rest)])
    if wwid is None:
        raise _no_wwid(text, "has not the digits of one")
    return str(wwid)


def _designator(kind: WwidKind, rest: str) -> Designator:
    """The designator that has that name, if there is one; else one that makes no identity."""
    unit = Association.LOGICAL_UNIT
    if kind is WwidKind.T10:
        data = unquote_to_bytes(rest)
        return Designator(unit, CodeSet.ASCII, DesignatorType.T10_VENDOR_ID, data)
    is_hexadecimal = _HEXADECIMAL.fullmatch(rest) and len(rest) % 2 == 0
    data = bytes.fromhex(rest) if is_hexadecimal else b""
    return Designator(unit, CodeSet.BINARY, _BINARY[kind], data)


def _no_wwid(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} {why}: no LUN has that WWID; see 'mpio-fuse discover'")
