"""What a device asks of whoever speaks with the array about who owns the logical unit.

There are two: `mpio_fuse.device.persistent_ownership` for arrays with persistent reservations, all underpaths at
once; `mpio_fuse.device.single_path` for those without, over one underpath.

Nothing here may run beside another: the device calls one at a time, all but `look` and what `Recovery` names, which the
data path and the health check call whenever they must.  Each closes the I/O gate itself where it changes anything.
"""

from collections.abc import Sequence
from typing import Protocol

from mpio_fuse.device.data_path import Recovery
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.snapshot import ReservationSnapshot
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.situation import Situation
from mpio_fuse.scsi.verdict import Verdict


class Ownership(Protocol):
    """Whose the logical unit is, as far as this host can tell and change it."""

    @property
    def grant(self) -> Grant | None:
        """The grant that stands; None when nothing is open."""
        ...

    @property
    def recovery(self) -> Recovery:
        """What the data path calls between two attempts."""
        ...

    async def configure(self) -> None:
        """Make the underpaths ready for opens.

        Raises:
            MpioError: not one of them can be used.
        """
        ...

    async def stand_by(self) -> None:
        """After `configure`: what a host that holds nothing keeps at the array."""
        ...

    async def open(self, options: OpenOption) -> Grant:
        """Run the procedure that the options choose; the grant that stands then, a new one or the old.

        Raises:
            OpenRefused: the procedure ended in an error.
        """
        ...

    async def give_up(self, grant: Grant) -> None:
        """The last close of the grant: release, unless it is to be retained.  What was written is flushed."""
        ...

    async def withdraw(self) -> str:
        """Take everything of ours from the array, but for what is retained; what is left there, in words."""
        ...

    async def readmit(self, underpath: Underpath) -> bool:
        """See whether an underpath that answers again may carry data; whether it does now.

        Raises:
            MpioError: the state could not be read, or (`Fenced`) the device is not ours any more.
        """
        ...

    async def retire(self, underpath: Underpath) -> None:
        """Leave nothing of ours on an underpath that goes for good: what it holds moves to another first.

        Raises:
            MpioError: what it holds could not be moved.
        """
        ...

    async def is_recognised(self, underpaths: Sequence[Underpath]) -> bool:
        """Whether each of these underpaths leads to a logical unit that knows us: no clone of it does."""
        ...

    async def look(self) -> None:
        """See what the array says now; fences the grant when it is not ours any more, finishes what is owed.

        Raises:
            MpioError: nobody answers, or (`Fenced`) it is not ours any more.
        """
        ...

    async def release_retained(self) -> None:
        """Give up a reservation that outlived its last close.

        Raises:
            OpenRefused: EIO, it is still ours afterwards.
            MpioError: the reservation is not ours, or no underpath answers.
        """
        ...

    def note_attention(self, underpath: Underpath, verdict: Verdict, what: str) -> None:
        """A unit attention or deferred error met by a control command: told once, so it must not be lost."""
        ...

    # -- for people

    def reservation(self) -> ReservationSnapshot:
        """The reservation as it was last heard of."""
        ...

    def retention(self) -> Retention | None:
        """Why the reservation is to outlive the last close; None when it is not."""
        ...

    def is_holder(self, underpath: Underpath) -> bool:
        """Whether the reservation was made there."""
        ...

    async def situation(self, opens: tuple[OpenOption, ...]) -> Situation:
        """What an open would find now; sends PERSISTENT RESERVE IN alone."""
        ...
