"""Locks on ranges of blocks: writes that touch the same block go one after the other.

Invariants: no two held ranges overlap; a waiter starts once nothing that overlaps it is held or has waited
longer, so nobody starves.  Everything but the wait itself is synchronous.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from mpio_fuse.device.extents import Extent


@attrs.define(eq=False)
class _Claim:
    extent: Extent
    granted: trio.Event = attrs.Factory(trio.Event)

    def overlaps(self, other: "_Claim") -> bool:
        return self.extent.lba < other.extent.end_lba and other.extent.lba < self.extent.end_lba


class RangeLock:
    """Exclusive locks on extents, granted in order of arrival where they overlap."""

    def __init__(self) -> None:
        self._claims: list[_Claim] = []  # held and waiting, in order of arrival

    @asynccontextmanager
    async def holding(self, extent: Extent) -> AsyncIterator[None]:
        """Hold the extent for the block's length."""
        claim = _Claim(extent)
        self._claims.append(claim)
        try:
            if not self._may_start(claim):
                await claim.granted.wait()
            yield
        finally:
            self._claims.remove(claim)
            self._wake(claim)

    def _may_start(self, claim: _Claim) -> bool:
        """Whether nothing that came earlier overlaps."""
        for earlier in self._claims:
            if earlier is claim:
                return True
            if earlier.overlaps(claim):
                return False
        raise AssertionError("a claim that is not in the list")  # pragma: no cover

    def _wake(self, gone: _Claim) -> None:
        for claim in self._claims:
            if claim.overlaps(gone) and self._may_start(claim):
                claim.granted.set()
