"""Which underpath carries the next data command.  Synchronous and pure: more policies come here."""

from collections.abc import Sequence
from typing import Protocol

from mpio_fuse.device.underpath import Underpath


class Selector(Protocol):
    """A policy.  ``candidates`` is never empty and holds usable underpaths only."""

    def choose(self, candidates: Sequence[Underpath]) -> Underpath:
        """One of the candidates."""
        ...


class RoundRobin:
    """Each usable underpath in turn, by index."""

    def __init__(self) -> None:
        self._last_index = -1

    def choose(self, candidates: Sequence[Underpath]) -> Underpath:
        """The next one after the last, in order of index, round and round."""
        later = [underpath for underpath in candidates if underpath.index > self._last_index]
        chosen = min(later or candidates, key=lambda underpath: underpath.index)
        self._last_index = chosen.index
        return chosen
