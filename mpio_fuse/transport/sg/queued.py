"""Commands on the sg driver's own queue: written to the node, read back when ready, no thread.

Theory of operation
-------------------
One write(2) of a header queues a command and returns; the descriptor becomes readable when any command has
ended; one read(2) takes one answer and copies its data straight into the caller's buffer.  Three things run:

- `QueuedLane.start` takes a slot and a tag if both are free, submits, and leaves an entry in the in-flight table with
  the call that tells its end.  `QueuedLane.execute`, in any number of tasks, is the same with a wait before (`Slots`,
  in order of arrival) and one after: its entry's call wakes the task.
- a *look* takes everything that is ready in one foreign call, and settles each answer: unpins its buffer, frees its
  slot and tag, tells its end.  The *reader*, one system task for each open node, looks whenever the node is readable;
  or before that whoever polls before going to sleep (`mpio_fuse.transport.busy_poll`), and the reader rests meanwhile.
- `refuse` and `abandon_waiting`, called when the device has gone or the transport is closed.

Everything runs in the trio thread, and **there is no await between a decision and its effect**: not between
the check for a gone device and the write, nor between the write and the entry in the table.

*Slots and tags.*  Sixteen slots, because the driver keeps sixteen commands for each open file.  And a share of the
SCSI host's tags, which all its LUNs have in common: with none left the write **sleeps** until one is free, O_NONBLOCK
or not.  An iSCSI session is one SCSI host of some 128 tags; hung, with nine busy LUNs, it would stop this process.

*Pinning.*  The driver copies data-out and the CDB during the write, and writes data-in and sense during the read.
So what must live until the read is the data-in buffer, also when nobody waits for it.  The table holds it.

*Cancellation.*  A cancelled task, or whoever abandons what it started, leaves the entry behind without a call: that is
a stranded command, and it keeps its slot and tag.  It is settled like any other when its answer comes.

*The reader owns the descriptor.*  It closes it when it ends, and it ends when the lane refuses new commands and the
last one in flight has been given back.  So a descriptor number can never be reused under a command, and `stranded`
stays true after closing.  Nobody polls it any more by then.

*A deleted device* is a hang-up: the node is then readable for ever without an answer in it.  So it is taken out of what
is polled, and the reader looks at intervals for what is still in flight.  The kernel ends those commands: an answer
comes for each.

*A node that cannot be read* gives nothing back any more: every wait ends, and what was in flight stays stranded.
"""

import errno as errno_codes
import itertools
import os
from collections.abc import Callable

import attrs
import trio

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.busy_poll import BUSY_POLL
from mpio_fuse.transport.contract import OnEnd
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.in_flight import InFlight, settled, waking
from mpio_fuse.transport.sg.native import QUEUE_DEPTH, Answer, CommandQueue
from mpio_fuse.transport.slots import Slots

_HUNG_UP_POLL_S = 0.02


@attrs.define
class QueuedCommand(InFlight):
    """A command in the driver."""

    tag: int
    host_tag: int


class QueuedLane:
    """The queue of one open node.  ``fd`` is owned from construction on and closed by the reader.

    ``host_tags`` are shared by all open nodes of one SCSI host.

    ``on_gone`` is told, at most a few times, why no command can be sent any more; ``gone_error`` makes the error
    for a task that waits.
    """

    def __init__(
        self,
        fd: int,
        queue: CommandQueue,
        host_tags: Slots,
        on_gone: Callable[[str], None],
        gone_error: Callable[[], TransportGone],
    ) -> None:
        self._fd = fd
        self._queue = queue
        self._host_tags = host_tags
        self._on_gone = on_gone
        self._gone_error = gone_error
        self._slots = Slots(QUEUE_DEPTH)
        self._in_flight: dict[int, QueuedCommand] = {}
        self._tags = itertools.count(1)
        self._refusing = False
        self._hung_up = False
        self._reading = trio.CancelScope()
        self._waiting_readable = trio.CancelScope()
        self._reader_ended = trio.Event()

    def start_reader(self) -> None:
        """Must be called once, inside trio."""
        BUSY_POLL.add(self._fd, self._look)
        trio.lowlevel.spawn_system_task(self._read_answers, name=f"sg reader of fd {self._fd}")

    @property
    def stranded(self) -> int:
        return sum(1 for entry in self._in_flight.values() if entry.on_end is None)

    @property
    def under_way(self) -> int:
        """How many commands are in the driver, the stranded ones included."""
        return len(self._in_flight)

    async def execute(self, command: Command, phase: DataPhase) -> Completion:
        """Send one command and wait for its end.

        Raises:
            OSError: the driver did not take it.
            TransportGone: the lane refuses commands.
        """
        slot = await self._slots.take(self)
        try:
            host_tag = await self._host_tags.take(self)
        except BaseException:
            self._slots.give_back(slot)
            raise
        return await settled(self._send(slot, host_tag, command, phase, waking()))

    def start(self, command: Command, phase: DataPhase, on_end: OnEnd) -> QueuedCommand | None:
        """Send one command without waiting; None when there is no slot or no tag for it.

        Raises:
            OSError, TransportGone: as `execute`.
        """
        slot = self._slots.take_at_once()
        if slot is None:
            return None
        host_tag = self._host_tags.take_at_once()
        if host_tag is None:
            self._slots.give_back(slot)
            return None
        return self._send(slot, host_tag, command, phase, on_end)

    def refuse(self) -> None:
        """Take no more commands and end those that wait for a slot; what is in flight goes on."""
        self._refusing = True
        self._slots.refuse_waiting(self, self._gone_error)
        self._host_tags.refuse_waiting(self, self._gone_error)
        self._end_reader_if_done()

    def abandon_waiting(self) -> None:
        """Tell everybody who waits that it is over: commands in flight are stranded from now on."""
        for entry in self._in_flight.values():
            entry.end(self._gone_error())

    async def wait_idle_closed(self) -> None:
        """Wait until the descriptor is closed, unless a command in flight still needs it."""
        if not self._in_flight:
            await self._reader_ended.wait()

    @trio.lowlevel.enable_ki_protection
    def _send(
        self, slot: int, host_tag: int, command: Command, phase: DataPhase, on_end: OnEnd
    ) -> QueuedCommand:
        """Submit and record, in one step that nothing can interrupt; places that are not used are given back."""
        entry = QueuedCommand(on_end, next(self._tags), host_tag)
        try:
            if self._refusing:
                raise self._gone_error()
            entry.pinned = self._queue.submit(
                slot, entry.tag, command.cdb, phase, command.timeout_s
            )
        except BaseException:
            self._give_back(slot, host_tag)
            raise
        self._in_flight[slot] = entry
        return entry

    async def _read_answers(self) -> None:
        try:
            with self._reading:
                with self._waiting_readable:
                    while not self._is_done:
                        await BUSY_POLL.wait_readable(self._fd)
                        self._look()
                while not self._is_done:
                    await trio.sleep(_HUNG_UP_POLL_S)
                    self._look()
        finally:
            BUSY_POLL.remove(self._fd)
            os.close(self._fd)
            self._reader_ended.set()

    @property
    def _is_done(self) -> bool:
        """Whether nothing is to be read any more, nor ever will be."""
        return self._refusing and not self._in_flight

    @trio.lowlevel.enable_ki_protection
    def _look(self) -> None:
        """Take in what has come; called by the reader or whoever else has found the node readable."""
        try:
            self._take_answers()
        except OSError as error:
            self._fail(error)
        self._end_reader_if_done()

    def _take_answers(self) -> None:
        answers = self._queue.harvest(max(1, len(self._in_flight)))
        for answer in answers:
            self._settle(answer)
        if not answers and not self._hung_up and self._queue.hung_up():
            self._hang_up()

    def _hang_up(self) -> None:
        """From now on the node is readable for ever, so that to wait for that would be to spin."""
        self._hung_up = True
        BUSY_POLL.remove(self._fd)
        self._wake_reader(self._waiting_readable)
        self._on_gone("its device was deleted")

    def _fail(self, error: OSError) -> None:
        """Nothing can be read back any more, so nobody may wait for it; the entries stay stranded."""
        BUSY_POLL.remove(self._fd)
        self._wake_reader(self._reading)
        self._on_gone(f"reading answers from the sg driver failed ({error.strerror})")
        self.abandon_waiting()

    def _settle(self, answer: Answer) -> None:
        entry = self._in_flight.get(answer.slot)
        if entry is None or entry.tag != answer.tag:
            raise OSError(errno_codes.EPROTO, "an answer to a command that was never sent")
        del self._in_flight[answer.slot]
        entry.pinned = None
        self._give_back(answer.slot, entry.host_tag)
        entry.end(answer.completion)

    def _give_back(self, slot: int, host_tag: int) -> None:
        self._host_tags.give_back(host_tag)
        self._slots.give_back(slot)

    def _end_reader_if_done(self) -> None:
        if self._is_done:
            self._wake_reader(self._reading)

    def _wake_reader(self, wait: trio.CancelScope) -> None:
        """It may rest while others poll (`BusyPoll.wait_readable`), for as long as they do."""
        BUSY_POLL.disturb()
        wait.cancel()
