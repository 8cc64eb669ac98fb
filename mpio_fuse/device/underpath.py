"""One underpath: a nexus to the logical unit, its transport, and what we know of it."""

from collections.abc import Iterable

import attrs

from mpio_fuse.device.condition.state import UnderpathState
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.transport.contract import Transport

__all__ = ["Counters", "Suspicion", "Underpath", "UnderpathState"]


@attrs.define
class Counters:
    """What has gone over one underpath since it was made."""

    reads: int = 0
    writes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    failures: int = 0


@attrs.frozen(eq=False)
class Suspicion:
    """What a completion said that somebody must look into.  Each is one of its own: a second is not the first."""

    verdict: Verdict


@attrs.define(eq=False)
class Underpath:
    """One underpath's state.  Changed by the registrar, the data path and what recovers them, synchronously.

    ``index`` is its place in the device: what the patent's ``reserved`` field holds.  ``epoch`` rises whenever
    every command sent here before is known to be dead at the array.  ``has_lost_write``: of a write of this epoch
    nobody knows whether it is over, so nothing may be written anywhere before a barrier.  ``suspicion``: what a
    completion told that somebody must look into before data goes here again.  ``has_another_size``: than the device, so
    that it may be another disk, and is not registered.
    """

    index: int
    transport: Transport
    state: UnderpathState = UnderpathState.UNCHECKED
    registered: bool = False
    in_flight: int = 0
    epoch: int = 0
    has_lost_write: bool = False
    suspicion: Suspicion | None = None
    has_another_size: bool = False
    last_failure: str = ""
    counters: Counters = attrs.Factory(Counters)

    @property
    def name(self) -> str:
        """The device node or URL, as the user named it."""
        return self.transport.name

    @property
    def is_idle(self) -> bool:
        """Whether the transport has given every command back."""
        return not self.in_flight and not self.transport.stranded

    @property
    def is_usable(self) -> bool:
        """Whether data commands may be sent here: never before the registration is known good."""
        return self.registered and self.state is UnderpathState.UP and self.suspicion is None


def failures_of(underpaths: Iterable[Underpath]) -> str:
    """What each of them said last, for one line of an error."""
    return "; ".join(f"{one.name}: {one.last_failure}" for one in underpaths if one.last_failure)
