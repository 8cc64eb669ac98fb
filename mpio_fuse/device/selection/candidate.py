"""What selection must know of an underpath."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from mpio_fuse.device.condition.state import Service
from mpio_fuse.device.selection.access import Access


class Candidate(Protocol):
    """An underpath as selection sees it; all of one choice have different indexes."""

    @property
    def index(self) -> int:
        """Its place in the device; the order in which underpaths take turns."""
        ...

    @property
    def access(self) -> Access | None:
        """What its target port is for this logical unit, None when the array does not say (no ALUA)."""
        ...

    @property
    def in_flight(self) -> int:
        """How many commands are under way there."""
        ...

    @property
    def in_flight_bytes(self) -> int:
        """How much data they carry."""
        ...

    def service(self, now_s: float) -> Service:
        """How far it is in service now."""
        ...

    def bytes_per_s(self, now_s: float) -> float | None:
        """How much data it has carried lately in the time it was busy; None when that is not known (any more)."""
        ...


C = TypeVar("C", bound=Candidate)


class Policy(Protocol):
    """How the underpaths of one group share the load."""

    def choose(self, group: Sequence[C], length_bytes: int, now_s: float) -> C:
        """The one for a command with that much data.  The group is never empty."""
        ...


def next_in_turn(group: Sequence[C], last_index: int) -> C:
    """The one after ``last_index``, round and round."""
    later = [one for one in group if one.index > last_index]
    return min(later or group, key=_index)


def _index(one: Candidate) -> int:
    return one.index
