"""Whether several descriptions are of one logical unit, and what they say together.

One identity, two contents: that happens.  Targets number their LUNs with counters, images are cloned with their
identity, a node is reused by another disk.  What all underpaths of a LUN must agree on is compared here.
"""

from collections.abc import Callable, Sequence

import attrs

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.errors import MpioError

Named = tuple[str, LogicalUnit]
"""A device node, and what was read over it."""


def _size(unit: LogicalUnit) -> str | None:
    if unit.capacity is None:
        return None
    return f"{unit.capacity.blocks} blocks of {unit.capacity.block_size_bytes} bytes"


def _persistent_reserve(unit: LogicalUnit) -> str:
    return "persistent reserve" if unit.has_persistent_reserve else "no persistent reserve"


_FACTS: tuple[Callable[[LogicalUnit], str | None], ...] = (
    _size,
    lambda unit: unit.vendor,
    lambda unit: unit.product,
    _persistent_reserve,
)
"""Must be equal where known.  Not the revision: controllers are upgraded one after the other."""


def agreed_logical_unit(named: Sequence[Named]) -> LogicalUnit:
    """One description from those of all underpaths: the capacity from whoever knows it, the tightest limit.

    Raises:
        MpioError: two of them contradict each other; it names both.
    """
    for fact in _FACTS:
        _require_equal(named, fact)
    units = [unit for _, unit in named]
    limits = [unit.max_transfer_blocks for unit in units if unit.max_transfer_blocks is not None]
    return attrs.evolve(
        units[0],
        capacity=next((unit.capacity for unit in units if unit.capacity), None),
        max_transfer_blocks=min(limits, default=None),
    )


def _require_equal(named: Sequence[Named], fact: Callable[[LogicalUnit], str | None]) -> None:
    known = [(node, text, unit) for node, unit in named if (text := fact(unit)) is not None]
    for node, text, unit in known[1:]:
        first_node, first_text, _ = known[0]
        if text != first_text:
            raise MpioError(
                f"one identity, but {first_node} says {first_text!r} and {node} says {text!r}",
                lun=str(unit.wwid),
                hint="these are two disks, or one that is being resized; name the nodes of one of them",
            )
