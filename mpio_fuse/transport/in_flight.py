"""A command that the layers below have, and who is told of its end.

There is one way to wait for it, a call: who `start`s a command gives its own, and who `execute`s one is a task that
the call wakes (`waking`).  Whoever no longer waits leaves the entry behind without a call: it is stranded then, and
its transport keeps it in its table, with all that it pins, until the layers below give the command back.
"""

from collections.abc import Callable
from functools import partial

import attrs
import outcome
import trio

from mpio_fuse.scsi.command import Completion
from mpio_fuse.transport.busy_poll import BUSY_POLL
from mpio_fuse.transport.contract import OnEnd


@attrs.define
class InFlight:
    """One command; ``on_end`` is None once nobody waits for it, ``pinned`` keeps its buffer where it is."""

    on_end: OnEnd | None
    pinned: object = attrs.field(default=None, kw_only=True)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self.on_end = None

    def end(self, how: Completion | Exception) -> None:
        """Tell whoever waits."""
        if self.on_end is not None:
            self.on_end(how)
            self.on_end = None


def waking() -> OnEnd:
    """What wakes the calling task, which must go on to `settled` without another await."""
    return partial(_wake, trio.lowlevel.current_task())


async def settled(entry: InFlight) -> Completion:
    """Wait for the end of a command that is told to this task; to be cancelled strands it."""

    def strand(_raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        entry.abandon()
        return trio.lowlevel.Abort.SUCCEEDED

    completion: Completion = await trio.lowlevel.wait_task_rescheduled(strand)
    return completion


def _wake(task: trio.lowlevel.Task, how: Completion | Exception) -> None:
    end = outcome.Error(how) if isinstance(how, Exception) else outcome.Value(how)
    BUSY_POLL.disturb()
    trio.lowlevel.reschedule(task, end)
