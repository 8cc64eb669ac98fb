"""Commands on the sg driver's own queue: written to the node, read back when ready, no thread.

Theory of operation
-------------------
One write(2) of a header queues a command and returns; the descriptor becomes readable when any command has
ended; one read(2) takes one answer and copies its data straight into the caller's buffer.  Three things run:

- `QueuedLane.execute`, in any number of tasks: takes a slot (`Slots`, in order of arrival), submits, and parks its
  task in the in-flight table until it is rescheduled with the completion.
- the *reader*, one system task for each open node: waits until the node is readable, takes everything
  that is ready in one foreign call, and settles each: unpins its buffers, frees its slot, wakes its task.
- `refuse` and `abandon_waiting`, called when the device has gone or the transport is closed.

Everything runs in the trio thread, and **there is no await between a decision and its effect**: not between
the check for a gone device and the write, nor between the write and the entry in the table.

*Slots and tags.*  Sixteen slots, because the driver keeps sixteen commands for each open file.  And a share of the
SCSI host's tags, which all its LUNs have in common: with none left the write **sleeps** until one is free, O_NONBLOCK
or not.  An iSCSI session is one SCSI host of some 128 tags; hung, with nine busy LUNs, it would stop this process.

*Pinning.*  The driver copies data-out and the CDB during the write, and writes data-in and sense during the read.
So what must live until the read is the data-in buffer, also when its task was cancelled.  The table holds it.

*Cancellation.*  A cancelled task leaves its entry behind without a task: that is a stranded command, and it
keeps its slot.  The reader settles it like any other when its answer comes.

*The reader owns the descriptor.*  It closes it when it ends, and it ends when the lane refuses new commands and the
last one in flight has been given back.  So a descriptor number can never be reused under a command, and `stranded`
stays true after closing.

*A deleted device* is a hang-up: the node is then readable for ever without an answer in it, so the reader
polls at intervals instead for what is still in flight.  The kernel ends those commands: an answer comes for each.
"""

import errno as errno_codes
import itertools
import os
from collections.abc import Callable

import attrs
import outcome
import trio

from mpio_fuse.errors import TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.sg.native import QUEUE_DEPTH, Answer, CommandQueue
from mpio_fuse.transport.slots import Slots

_HUNG_UP_POLL_S = 0.02


@attrs.define
class _InFlight:
    """A command in the driver; ``task`` is None once nobody waits for it any more."""

    tag: int
    host_tag: int
    task: trio.lowlevel.Task | None
    pinned: object = None


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
        self._in_flight: dict[int, _InFlight] = {}
        self._tags = itertools.count(1)
        self._refusing = False
        self._hung_up = False
        self._idle_wait = trio.CancelScope()
        self._reader_ended = trio.Event()

    def start(self) -> None:
        """Start the reader.  Must be called once, inside trio."""
        trio.lowlevel.spawn_system_task(self._read_answers, name=f"sg reader of fd {self._fd}")

    @property
    def stranded(self) -> int:
        return sum(1 for entry in self._in_flight.values() if entry.task is None)

    async def execute(self, command: Command, phase: DataPhase) -> Completion:
        """Send one command and wait for its end.

        Raises:
            OSError: the driver did not take it.
            TransportGone: the lane refuses commands.
        """
        slot = await self._slots.take(self)
        try:
            entry = await self._send_tagged(slot, command, phase)
        except BaseException:
            self._slots.give_back(slot)
            raise
        return await _settled(entry)

    def refuse(self) -> None:
        """Take no more commands and end those that wait for a slot; what is in flight goes on."""
        self._refusing = True
        self._slots.refuse_waiting(self, self._gone_error)
        self._host_tags.refuse_waiting(self, self._gone_error)
        self._end_reader_if_idle()

    def abandon_waiting(self) -> None:
        """End every `execute`: commands in flight are stranded from now on."""
        for entry in self._in_flight.values():
            if entry.task is not None:
                trio.lowlevel.reschedule(entry.task, outcome.Error(self._gone_error()))
                entry.task = None

    async def wait_idle_closed(self) -> None:
        """Wait until the descriptor is closed, unless a command in flight still needs it."""
        if not self._in_flight:
            await self._reader_ended.wait()

    async def _send_tagged(self, slot: int, command: Command, phase: DataPhase) -> _InFlight:
        host_tag = await self._host_tags.take(self)
        try:
            return self._send(slot, host_tag, command, phase)
        except BaseException:
            self._host_tags.give_back(host_tag)
            raise

    @trio.lowlevel.enable_ki_protection
    def _send(self, slot: int, host_tag: int, command: Command, phase: DataPhase) -> _InFlight:
        """Submit and record, in one step that nothing can interrupt."""
        if self._refusing:
            raise self._gone_error()
        entry = _InFlight(next(self._tags), host_tag, trio.lowlevel.current_task())
        entry.pinned = self._queue.submit(slot, entry.tag, command.cdb, phase, command.timeout_s)
        self._in_flight[slot] = entry
        return entry

    async def _read_answers(self) -> None:
        try:
            with self._idle_wait:
                while self._in_flight or not self._refusing:
                    await self._wait_readable()
                    self._take_answers()
        except OSError as error:
            # Nothing can be read back any more, so nobody may wait for it; the entries stay stranded.
            self._on_gone(f"reading answers from the sg driver failed ({error.strerror})")
            self.abandon_waiting()
        finally:
            os.close(self._fd)
            self._reader_ended.set()

    async def _wait_readable(self) -> None:
        if self._hung_up:
            await trio.sleep(_HUNG_UP_POLL_S)
        else:
            await trio.lowlevel.wait_readable(self._fd)

    def _take_answers(self) -> None:
        answers = self._queue.harvest(max(1, len(self._in_flight)))
        for answer in answers:
            self._settle(answer)
        if not answers and not self._hung_up and self._queue.hung_up():
            self._hung_up = True
            self._on_gone("its device was deleted")

    def _settle(self, answer: Answer) -> None:
        entry = self._in_flight.get(answer.slot)
        if entry is None or entry.tag != answer.tag:
            raise OSError(errno_codes.EPROTO, "an answer to a command that was never sent")
        del self._in_flight[answer.slot]
        if entry.task is not None:
            trio.lowlevel.reschedule(entry.task, outcome.Value(answer.completion))
        self._host_tags.give_back(entry.host_tag)
        self._slots.give_back(answer.slot)

    def _end_reader_if_idle(self) -> None:
        if not self._in_flight:
            self._idle_wait.cancel()


async def _settled(entry: _InFlight) -> Completion:
    def strand(_raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        entry.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    completion: Completion = await trio.lowlevel.wait_task_rescheduled(strand)
    return completion
