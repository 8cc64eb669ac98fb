"""Descriptors that are looked at again and again, for a short while, by whoever would otherwise go to sleep.

Theory of operation
-------------------
To sleep and be woken costs 50 to 100 us on a virtual machine, as much as a whole I/O over a fast network.  So while
there is I/O the loop that takes requests in (`mpio_fuse.fs.request_loop`) polls before it sleeps, and a transport
that waits for a descriptor of its own names it here.  It waits for it in the event loop all the same: this is the
shorter way while somebody looks, never the only one.

*For how long* is `Window`'s to say: `MAX_WINDOW_S`, when the last sleep turned out to have been shorter than that.
When it was in vain, some waits go by without (1, 2, 4 ...).  It ends at once when others want this CPU: one of them may
be who is to answer, and who sleeps is woken sooner than who has used up its share.  Idle, nobody polls.

*Calm* is when the task that runs is the only one that has anything to do.  Then it may `stay`: poll for its own answer
where it is, instead of having the event loop go round to find out that only it can go on.  Whoever takes a request in
while nobody else is at work says that it is calm; whoever wakes a task, or finds what another is to do, says `disturb`.
Not to say so costs that task a few windows, no more: staying is bounded.

One thread, as trio's.
"""

import os
import select
import time
from collections.abc import Callable

import trio

MAX_WINDOW_S = 500e-6

CROWDED_S = 20e-6
"""A sched_yield(2) that takes longer has let somebody else run who waited for this CPU."""

MAX_PAUSE = 1024
"""After polling was in vain so many waits in turn may go by without."""

MAX_STAY = 8
"""So often something may come, and not be the whole answer, before who stays lets others run."""


class Window:
    """For how long polling is worth it: whether what was waited for lately came soon, and the CPU was to be had."""

    def __init__(self) -> None:
        self.length_s = 0.0
        self._pause = 1
        self._left_out = 0

    def open(self) -> float:
        """How long to poll this time."""
        if not self._left_out:
            return self.length_s
        self._left_out -= 1
        return 0.0

    def was_worth_it(self) -> None:
        """Something came while polling."""
        self._pause = 1

    def was_in_vain(self) -> None:
        """Nothing came, or somebody else wanted the CPU, perhaps whoever is to answer."""
        self._left_out = self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE)

    def slept(self, duration_s: float) -> None:
        """Something came after so long a sleep."""
        self.length_s = MAX_WINDOW_S if duration_s < MAX_WINDOW_S else 0.0


class BusyPoll:
    """What is polled, and what is done when it has something to read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.window = Window()
        self._clock = clock
        self._poll = select.poll()
        self._acts: dict[int, Callable[[], None]] = {}
        self._parked: list[trio.lowlevel.Task] = []
        self.is_hot = False
        """Whether somebody looks, now and until `cool`: then nobody else waits for the descriptors.

        Only for who is sure to call `cool` before it sleeps; not for who stays.
        """

        self.is_calm = False
        """Whether nobody but the task that runs has anything to do."""

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

    def spin(self) -> bool:
        """Look until there was something, while the window is open; whether there was."""
        window, clock, look = self.window, self._clock, self.look
        now_s = began_s = clock()
        end_s = began_s + window.open()
        while now_s < end_s:
            if look():
                window.was_worth_it()
                return True
            os.sched_yield()
            was_s, now_s = now_s, clock()
            if now_s - was_s > CROWDED_S:
                break
        if end_s > began_s:
            window.was_in_vain()
        return False

    def stay(self, is_over: Callable[[], bool]) -> None:
        """Look, for the task that runs, until what it waits for is over, while it is calm and the window is open."""
        for _ in range(MAX_STAY):
            if not self.is_calm or is_over():
                return
            self.is_calm = self.spin() and self.is_calm
        self.is_calm = False

    def disturb(self) -> None:
        """Somebody else has something to do now."""
        self.is_calm = False

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
