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
class Claim:
    """One range, held or waited for.  ``granted``: what a waiter waits for; None for one that need not."""

    lba: int
    end_lba: int
    granted: trio.Event | None = None

    def overlaps(self, other: "Claim") -> bool:
        """Whether both have a block in common."""
        return self.lba < other.end_lba and other.lba < self.end_lba


class RangeLock:
    """Exclusive locks on extents, granted in order of arrival where they overlap."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []  # held and waiting, in order of arrival
        self._waiting = 0

    def try_hold(self, extent: Extent) -> Claim | None:
        """Hold the extent, if nobody has anything of it or waits for it; to be given back with `release`."""
        lba, end_lba = extent.lba, extent.lba + extent.blocks
        for one in self._claims:
            if lba < one.end_lba and one.lba < end_lba:
                return None
        claim = Claim(lba, end_lba)
        self._claims.append(claim)
        return claim

    def release(self, claim: Claim) -> None:
        """Give back what was held."""
        self._claims.remove(claim)
        if self._waiting:
            self._wake(claim)

    @asynccontextmanager
    async def holding(self, extent: Extent) -> AsyncIterator[None]:
        """Hold the extent for the block's length."""
        claim = self.try_hold(extent) or await self._wait_for(extent)
        try:
            yield
        finally:
            self.release(claim)

    async def _wait_for(self, extent: Extent) -> Claim:
        granted = trio.Event()
        claim = Claim(extent.lba, extent.end_lba, granted)
        self._claims.append(claim)
        self._waiting += 1
        try:
            await granted.wait()
        except BaseException:
            self._claims.remove(claim)
            self._wake(claim)
            raise
        finally:
            self._waiting -= 1
        return claim

    def _may_start(self, claim: Claim) -> bool:
        """Whether nothing that came earlier overlaps."""
        for earlier in self._claims:
            if earlier is claim:
                return True
            if earlier.overlaps(claim):
                return False
        raise AssertionError("a claim that is not in the list")  # pragma: no cover

    def _wake(self, gone: Claim) -> None:
        for claim in self._claims:
            if claim.granted is not None and claim.overlaps(gone) and self._may_start(claim):
                claim.granted.set()
