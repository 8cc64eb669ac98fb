"""Descriptors that are looked at again and again, for a short while, by whoever would otherwise go to sleep.

To sleep and be woken costs 50 to 100 us on a virtual machine, as much as a whole I/O over a fast network.  So while
there is I/O the loop that takes requests in (`mpio_fuse.fs.request_loop`) polls before it sleeps, and a transport
that waits for a descriptor of its own names it here.  It waits for it in the event loop all the same: this is the
shorter way while somebody looks, never the only one.

One thread, as trio's.
"""

import select
from collections.abc import Callable


class BusyPoll:
    """What is polled, and what is done when it has something to read."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._acts: dict[int, Callable[[], None]] = {}

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


BUSY_POLL = BusyPoll()
"""The process's: descriptors are, too."""
