"""The medium: sparse blocks, a volatile write cache over them, and the history of every access.

A block that was never written reads as zeros.  With a cache, a write is on the medium only once it was
synchronised, or was sent with FUA; a power loss forgets the rest.  Reads see the cache, so the loss shows
only afterwards, as it does in life.
"""

import enum

import attrs

from mpio_fuse.target.nexus import Nexus


class Kind(enum.Enum):
    """What an access did."""

    READ = "read"
    WRITE = "write"


@attrs.frozen
class MediumAccess:
    """One access: who, what and when.

    ``step`` is the logical unit's step at which the data moved, ``arrived`` the one at which the command came
    and was checked: between them lies everything that did not stop it.
    """

    step: int
    arrived: int
    nexus: Nexus
    kind: Kind
    lba: int
    blocks: int
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")

    def overlaps(self, lba: int, blocks: int) -> bool:
        """Whether the access touches any of these blocks."""
        return self.lba < lba + blocks and lba < self.lba + self.blocks


@attrs.define(eq=False)
class Medium:
    """``blocks`` blocks of ``block_size_bytes``; ranges are checked by the caller."""

    block_size_bytes: int
    blocks: int
    has_volatile_cache: bool = True
    bad_blocks: set[int] = attrs.Factory(set)
    """Blocks that cannot be read; writing one makes it good again."""

    is_write_protected: bool = False
    history: list[MediumAccess] = attrs.Factory(list)
    _stable: dict[int, bytes] = attrs.Factory(dict)
    _cache: dict[int, bytes] = attrs.Factory(dict)

    def read(self, lba: int, blocks: int) -> bytes:
        zeros = bytes(self.block_size_bytes)
        wanted = range(lba, lba + blocks)
        return b"".join(self._cache.get(at) or self._stable.get(at, zeros) for at in wanted)

    def first_bad_block(self, lba: int, blocks: int) -> int | None:
        """The first of these blocks that cannot be read."""
        return min((at for at in self.bad_blocks if lba <= at < lba + blocks), default=None)

    def write(self, lba: int, data: bytes, *, fua: bool = False) -> None:
        size = self.block_size_bytes
        self.bad_blocks.difference_update(range(lba, lba + len(data) // size))
        written = {lba + at: data[at * size : (at + 1) * size] for at in range(len(data) // size)}
        if self.has_volatile_cache and not fua:
            self._cache.update(written)
            return
        self._stable.update(written)
        for at in written:
            self._cache.pop(at, None)

    def synchronize(self, lba: int, blocks: int) -> None:
        """Make what the cache holds of these blocks survive a power loss."""
        for at in sorted(at for at in self._cache if lba <= at < lba + blocks):
            self._stable[at] = self._cache.pop(at)

    def lose_cache(self) -> None:
        """What a power loss does."""
        self._cache.clear()

    @property
    def unsynchronized_blocks(self) -> int:
        """How many blocks a power loss would turn back."""
        return len(self._cache)

    @property
    def writes(self) -> list[MediumAccess]:
        """The history's writes, in the order in which they landed."""
        return [access for access in self.history if access.kind is Kind.WRITE]
