"""The identity of a logical unit: what makes several device nodes one LUN.

Only designators that name the logical unit itself count, in the order NAA, EUI-64, T10 vendor
(SPC-4 7.8.6.2 asks every logical unit for one of them).  A serial number alone is never an identity: it is
unique within one vendor's product at best, and some arrays give all LUNs the array's own.

Every underpath of a LUN must yield the same identity, whatever order its port lists the designators in,
so of equals the smallest is taken, not the first.
"""

import enum
import hashlib
from collections.abc import Iterable

import attrs

from mpio_fuse.scsi.vpd import Association, CodeSet, Designator, DesignatorType

NAA_LENGTHS_BYTES = {6: 16, 5: 8, 2: 8, 3: 8}
"""SPC-4 7.8.6.6, best first: registered extended, registered, extended, and locally assigned last."""

EUI_64_LENGTHS_BYTES = (8, 12, 16)
T10_VENDOR_LENGTH_BYTES = 8
MAXIMUM_NAME_LENGTH = 200
"""Well below NAME_MAX (255), so that a name still fits with a suffix."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:=")


class WwidKind(enum.Enum):
    """Which designator an identity was taken from, best first."""

    NAA = "naa"
    EUI = "eui"
    T10 = "t10"


@attrs.frozen
class Wwid:
    """A world wide identity.  ``str()`` is a safe file name, and different identities never share one."""

    kind: WwidKind
    designator: bytes = attrs.field(repr=lambda data: data.hex())

    def __str__(self) -> str:
        if self.kind is WwidKind.T10:
            return f"{self.kind.value}.{_plain(self.designator)}"
        return f"{self.kind.value}.{self.designator.hex()}"

    @property
    def is_locally_assigned(self) -> bool:
        """NAA 3 is chosen by an administrator or a counter (tgt): two targets may give the same one."""
        return self.kind is WwidKind.NAA and self.designator[0] >> 4 == 3


def logical_unit_wwid(designators: Iterable[Designator]) -> Wwid | None:
    """The logical unit's identity by its VPD page 0x83, or None when it has none worth the name."""
    ours = (one for one in designators if one.association is Association.LOGICAL_UNIT)
    candidates = [wwid for one in ours if (wwid := _wwid(one)) is not None]
    return min(candidates, key=_rank, default=None)


def _wwid(one: Designator) -> Wwid | None:
    """The identity in a designator; None for what is malformed or tells no LUN from another."""
    if one.type == DesignatorType.NAA and _is_naa(one):
        return Wwid(WwidKind.NAA, one.designator)
    if one.type == DesignatorType.EUI_64 and _is_eui(one):
        return Wwid(WwidKind.EUI, one.designator)
    if one.type == DesignatorType.T10_VENDOR_ID and _is_t10(one):
        return Wwid(WwidKind.T10, one.designator)
    return None


def _rank(wwid: Wwid) -> tuple[int, int, bytes]:
    kind = list(WwidKind).index(wwid.kind)
    is_naa = wwid.kind is WwidKind.NAA
    naa = list(NAA_LENGTHS_BYTES).index(wwid.designator[0] >> 4) if is_naa else 0
    return kind, naa, wwid.designator


def _is_naa(one: Designator) -> bool:
    data = one.designator
    has_length = bool(data) and NAA_LENGTHS_BYTES.get(data[0] >> 4) == len(data)
    return one.code_set == CodeSet.BINARY and has_length and any(data[1:])


def _is_eui(one: Designator) -> bool:
    has_length = len(one.designator) in EUI_64_LENGTHS_BYTES
    return one.code_set == CodeSet.BINARY and has_length and any(one.designator)


def _is_t10(one: Designator) -> bool:
    """A vendor's name alone, or one with padding behind it, would make all its LUNs the same."""
    return bool(one.designator[T10_VENDOR_LENGTH_BYTES:].strip(b" \0"))


def _plain(data: bytes) -> str:
    """Percent-encoding as in URLs; one that is too long for a file name ends in its digest.

    ``~`` occurs in no encoded text, so a shortened name equals no other.
    """
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in data)
    if len(text) <= MAXIMUM_NAME_LENGTH:
        return text
    return f"{text[:100]}~{hashlib.sha256(data).hexdigest()}"
