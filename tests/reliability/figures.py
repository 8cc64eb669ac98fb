"""From the probe's notes to figures: stalls, errors, blocks that are not what was acknowledged.  Pure."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tests.reliability.layout import STANDING, WRITTEN, Region, serial_in

Operations = Sequence[tuple[float, float, str | None]]
"""``(began_s, took_s, error)``, in order."""


@attrs.frozen
class Seen:
    """What one thread of the probe saw."""

    operations: int
    stall_s: float
    """The longest time without a success; where none came any more, until it was told of that."""
    stall_from_s: float
    """When that began, counted from when the fault struck."""
    errors: dict[str, int]
    """How many operations failed, by the error's name."""
    first_error_s: float | None
    """When the first of them ended, counted likewise."""


def seen(operations: Operations, struck_s: float) -> Seen:
    """Sum up what a thread noted since shortly before the fault struck."""
    failed = [(began_s + took_s, error) for began_s, took_s, error in operations if error]
    errors = dict(Counter(error for _, error in failed))
    first_error_s = round(failed[0][0] - struck_s, 3) if failed else None
    stalls = [
        (until_s - from_s, from_s)
        for from_s, until_s in itertools.pairwise(_moments(operations))
        if until_s > struck_s
    ]
    stall_s, from_s = max(stalls, default=(0.0, struck_s))
    stall_from_s = round(from_s - struck_s, 3)
    return Seen(len(operations), round(stall_s, 3), stall_from_s, errors, first_error_s)


def _moments(operations: Operations) -> list[float]:
    """When it began, when each success ended, and the end: of the last one, or of the first that failed for good."""
    ends = [began_s + took_s for began_s, took_s, _ in operations]
    good = [number for number, (_, _, error) in enumerate(operations) if error is None]
    last = min(good[-1] + 1 if good else 0, len(operations) - 1)
    return [operations[0][0], *(ends[number] for number in good), ends[last]]


def wrong_at_the_end(report: Mapping[str, Any], blocks: Mapping[str, Sequence[bytes]]) -> list[str]:
    """The blocks that are not as the probe's report says they must be: what they are instead.

    A slot holds the write acknowledged last, or one that was attempted later and failed.
    """
    allowed = [
        {acknowledged, *attempted}
        for acknowledged, attempted in zip(report["acknowledged"], report["attempted"], strict=True)
    ]
    wrong = _wrong_in(WRITTEN, blocks[WRITTEN.name], allowed)
    return wrong + _wrong_in(STANDING, blocks[STANDING.name], [{0}] * STANDING.slots)


def _wrong_in(region: Region, blocks: Sequence[bytes], allowed: Sequence[set[int]]) -> list[str]:
    return [
        f"{region.name} {slot} ends as {block[:40]!r} instead of {sorted(good)}"
        for slot, (block, good) in enumerate(zip(blocks, allowed, strict=True))
        if serial_in(block, region.name, slot) not in good
    ]
