"""Descriptors that are looked at again and again, for a short while, by whoever would otherwise go to sleep.

To sleep and be woken costs 50 to 100 us on a virtual machine, as much as a whole I/O over a fast network.  So while
there is I/O the loop that takes requests in (`mpio_fuse.fs.request_loop`) polls before it sleeps, and a transport
that waits for a descriptor of its own names it here.  It waits for it in the event loop all the same: this is the
shorter way while somebody looks, never the only one.

One thread, as trio's.
"""

import select
from collections.abc import Callable

import trio


class BusyPoll:
    """What is polled, and what is done when it has something to read."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._acts: dict[int, Callable[[], None]] = {}
        self._parked: list[trio.lowlevel.Task] = []
        self.is_hot = False
        """Whether somebody looks now, and until `cool`: then nobody else need wait for the descriptors."""

    def add(self, fd: int, act: Callable[[], None]) -> None:
        """Call ``act`` whenever a look finds the descriptor readable, or broken."""
        self._acts[fd] = act
        self._poll.register(fd, select.POLLIN)

    def remove(self, fd: int) -> None:
        """Look at it no more.  Before it is closed: its number will be another's."""
        if self._acts.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def look(self) -> bool:
        """Do what is there to be done; whether there was anything."""
        found = self._poll.poll(0)
        for fd, _events in found:
            act = self._acts.get(fd)  # what came first may have ended another
            if act is not None:
                act()
        return bool(found)

    def cool(self) -> None:
        """Nobody looks any more."""
        self.is_hot = False
        for task in self._parked:
            trio.lowlevel.reschedule(task)
        self._parked.clear()

    async def wait_readable(self, fd: int) -> None:
        """Return when it may be readable and nobody else looks after it.

        Raises:
            ClosedResourceError: trio was told that it is being closed.
        """
        if not self.is_hot:
            await trio.lowlevel.wait_readable(fd)
            return
        task = trio.lowlevel.current_task()
        self._parked.append(task)

        def leave(_raise_cancel: "Callable[[], object]") -> trio.lowlevel.Abort:
            self._parked.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)


BUSY_POLL = BusyPoll()
"""The process's: descriptors are, too."""
