"""Places in the layers below, handed out in order of arrival: a driver's queue, a session's window, a SCSI host's tags.

A place belongs to a command from before it is sent until the driver has given it back, also when whoever
sent it has long been cancelled.  A freed place goes straight to the task that has waited longest, so that
nobody who comes later can take it in between.
"""

from collections import OrderedDict
from collections.abc import Callable

import outcome
import trio

from mpio_fuse.transport.busy_poll import BUSY_POLL


class Slots:
    """A fixed number of numbered places.  One trio run, one thread."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._waiting: OrderedDict[trio.lowlevel.Task, object] = OrderedDict()

    async def take(self, owner: object) -> int:
        """Wait for a place; first come, first served.  Checks for cancellation, and always before taking."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._free:
            return self._free.pop()
        task = trio.lowlevel.current_task()
        self._waiting[task] = owner

        def leave_queue(_raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
            del self._waiting[task]
            return trio.lowlevel.Abort.SUCCEEDED

        slot: int = await trio.lowlevel.wait_task_rescheduled(leave_queue)
        return slot

    def take_at_once(self) -> int | None:
        """A place, if one is free: then nobody waits for one."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: int) -> None:
        """Free a place, or hand it to the longest waiting task."""
        if self._waiting:
            task, _ = self._waiting.popitem(last=False)
            BUSY_POLL.disturb()
            trio.lowlevel.reschedule(task, outcome.Value(slot))
        else:
            self._free.append(slot)

    def refuse_waiting(self, owner: object, error: Callable[[], Exception]) -> None:
        """End every waiting `take` of ``owner`` with an error."""
        for task in [task for task, whose in self._waiting.items() if whose is owner]:
            del self._waiting[task]
            BUSY_POLL.disturb()
            trio.lowlevel.reschedule(task, outcome.Error(error()))
