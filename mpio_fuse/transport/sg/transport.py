"""`SgTransport`: the transport contract on one ``/dev/sg*`` node.

Theory of operation
-------------------
What carries what, and why:

- *Data commands* (READ, WRITE, SYNCHRONIZE CACHE ...; `routing`) are written to the node and read back when ready
  (`queued`).  Sixteen at once, no thread each, data copied once between the kernel and the caller's buffer.  They can
  be started (`SgTransport.start`), without a task each.
- *Everything else* (INQUIRY, TEST UNIT READY, PERSISTENT RESERVE ...) goes through libsgutils2's pass-through in one
  of four threads (`pass_through`), on an open file of its own: a health check must not wait behind sixteen hung
  reads.

The contract of `mpio_fuse.transport.contract`, as it works out here:

- *Gone* is what ENODEV or a hang-up says: the device was deleted.  No new command is taken then, those that wait
  for a slot get `TransportGone`; those in flight end by themselves, with what the kernel says of them.  A device
  that is *offline* (ENXIO) is not gone: that is a completion with NO_CONNECT.
- *Residual and sense* are clamped to the buffers.  driver_status is 0 for passed-through commands: the library
  hides it.
- *Cancellation* returns at once; the slot or the thread stays taken, and the command counts as `stranded`, until the
  kernel has given it back.  A cancelled command that was still waiting to be sent never is.
- *A reset* is the driver's SG_SCSI_RESET ioctl in a thread of its own.  Its confirmation is the low level driver's word
  for the target's; how long it takes, and whether other commands of the same SCSI host wait meanwhile, is up to them.
- *Timeouts* are given to the kernel: in milliseconds when queued, in whole seconds (rounded up) when passed through.
- *No room* (ENOMEM, a queue shorter than ours) is waited for a short while and then reported as REQUEUE: the
  command was not sent.
- *Starting* is for data commands that a slot and a tag are free for.  What the driver does not take is not started,
  whatever the reason: `execute` finds out again, and waits or says it.
- *Closing* ends every command for who waits for it; descriptors stay open until the kernel has given the last stranded
  one back, so ``stranded`` stays true after it.
- *What an earlier opener left behind* is in the same kernel, on the same nexus, and counts in ``stranded`` until the
  kernel has been seen without a command (`inherited`).

One thread (trio's), one run.  Open a node after the last fork: the driver takes commands only from the opener.
"""

import os
from pathlib import Path

import trio

from mpio_fuse.errors import TransportError, TransportGone, UsageError
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.transport.contract import OnEnd
from mpio_fuse.transport.data_phase import DataPhase, data_phase_of
from mpio_fuse.transport.sg.driver_table import active_commands
from mpio_fuse.transport.sg.host_tags import host_tags_of
from mpio_fuse.transport.sg.inherited import Inherited
from mpio_fuse.transport.sg.native import (
    QUEUE_DEPTH,
    CommandQueue,
    SgQueue,
    pass_through,
    reset_logical_unit,
)
from mpio_fuse.transport.sg.node import OpenNode, open_node, reserve_transfer_buffer
from mpio_fuse.transport.sg.pass_through import PassThrough, PassThroughLane, Reset
from mpio_fuse.transport.sg.queued import QueuedCommand, QueuedLane
from mpio_fuse.transport.sg.refusals import (
    Refusal,
    next_step,
    refusal_of,
    reset_problem,
)
from mpio_fuse.transport.sg.routing import Lane, lane_of
from mpio_fuse.transport.slots import Slots

_CHARACTER_DEVICES = Path("/sys/dev/char")
_PAUSES_S = (0.001, 0.005, 0.025, 0.125, 0.5)


class SgTransport:
    """A `mpio_fuse.transport.contract.Transport` on an open sg node.  Made by `open_sg`."""

    def __init__(
        self,
        device_node: str,
        node: OpenNode,
        queue: CommandQueue,
        host_tags: Slots,
        run_pass_through: PassThrough = pass_through,
        run_reset: Reset = reset_logical_unit,
        inherited: Inherited | None = None,
    ) -> None:
        self._name = device_node
        self._inherited = inherited
        self._facts = node.facts
        self._max_transfer_bytes = node.max_transfer_bytes
        self._gone: str | None = None
        self._queued = QueuedLane(
            node.queue_fd, queue, host_tags, on_gone=self._vanish, gone_error=self._gone_error
        )
        self._pass_through = PassThroughLane(
            node.control_fd, self._gone_error, run_pass_through, run_reset
        )
        self._queued.start_reader()

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> tuple[int, int, int, int]:
        """The kernel's H:C:T:L of the device, as lsscsi prints it."""
        return self._facts.address

    @property
    def max_transfer_bytes(self) -> int:
        return self._max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        """How many data commands the driver keeps; other commands have `pass_through.THREADS` places more."""
        return QUEUE_DEPTH

    @property
    def stranded(self) -> int:
        stranded = self._queued.stranded + self._pass_through.stranded
        if self._inherited is None:
            return stranded
        return stranded + self._inherited.count(self._queued.under_way + self.in_threads)

    @property
    def in_threads(self) -> int:
        """How many passed-through commands and resets are in the kernel now, the stranded ones included."""
        return self._pass_through.running

    async def execute(self, command: Command) -> Completion:
        """Send one command and wait for its end.

        Raises:
            TransportGone: the device was deleted, or the transport closed.
            TransportError: the driver refuses the command itself; nothing was sent.
            UsageError: the command's buffers or CDB cannot be sent by anybody.
        """
        phase = data_phase_of(command, self._max_transfer_bytes)
        for pause_s in _PAUSES_S:
            if self._gone is not None:
                raise self._gone_error()
            try:
                return await self._send(command, phase)
            except OSError as error:
                refused = self._refused(command, error)
            if refused is not None:
                return refused
            await trio.sleep(pause_s)
        return Completion(host_status=HostStatus.REQUEUE)

    def start(self, command: Command, on_end: OnEnd) -> QueuedCommand | None:
        """Send one data command without waiting; None when that cannot be, and for all that `execute` has to say."""
        try:
            phase = data_phase_of(command, self._max_transfer_bytes)
            if lane_of(command.cdb) is not Lane.QUEUED:
                return None
            return self._queued.start(command, phase, on_end)
        except (UsageError, TransportGone, OSError):
            return None

    async def reset_logical_unit(self) -> None:
        if self._gone is not None:
            raise self._gone_error()
        try:
            await self._pass_through.reset()
        except OSError as error:
            raise self._unconfirmed(error) from error

    async def aclose(self) -> None:
        """End every command with `TransportGone` and give the node up."""
        self._vanish("it was closed")
        self._queued.abandon_waiting()
        self._pass_through.end()
        with trio.CancelScope(shield=True):
            await self._queued.wait_idle_closed()
        await trio.lowlevel.checkpoint()

    async def _send(self, command: Command, phase: DataPhase) -> Completion:
        if lane_of(command.cdb) is Lane.QUEUED:
            return await self._queued.execute(command, phase)
        return await self._pass_through.execute(command, phase)

    def _refused(self, command: Command, error: OSError) -> Completion | None:
        """How a command the driver did not take ends; None to try it again."""
        match refusal_of(error):
            case Refusal.TRY_LATER:
                return None
            case Refusal.OFFLINE:
                return Completion(host_status=HostStatus.NO_CONNECT)
            case Refusal.GONE:
                self._vanish("its device was deleted")
                raise self._gone_error() from error
            case _:
                what = f"{command.name}: not taken by the sg driver ({error.strerror})"
                raise TransportError(what, underpath=self._name, hint=next_step(error)) from error

    def _unconfirmed(self, error: OSError) -> TransportError:
        """What becomes of a reset that did not succeed."""
        if refusal_of(error) is Refusal.GONE:
            self._vanish("its device was deleted")
            return self._gone_error()
        why, hint = reset_problem(error)
        what = f"the reset of the logical unit was not confirmed: {why}"
        return TransportError(what, underpath=self._name, hint=hint)

    def _vanish(self, why: str) -> None:
        if self._gone is None:
            self._gone = why
            self._queued.refuse()

    def _gone_error(self) -> TransportGone:
        return TransportGone(
            f"cannot carry commands any more: {self._gone}",
            underpath=self._name,
            hint="open its node anew once the device is back",
        )


async def open_sg(device_node: str) -> SgTransport:
    """Open ``device_node`` (``/dev/sgN``) for commands.  Sends none.

    Raises:
        UsageError: it is not an sg node.
        TransportGone: there is no such node, or no device behind it.
        TransportError: it cannot be opened now, or not by this user.
    """
    node = open_node(device_node)
    reserve_transfer_buffer(node)
    host_tags = host_tags_of(node.facts.host)
    transport = SgTransport(
        device_node, node, SgQueue(node.queue_fd), host_tags, inherited=_inherited_by(node)
    )
    await trio.lowlevel.checkpoint()
    return transport


def _inherited_by(node: OpenNode) -> Inherited:
    """By the device number: a node may have any name."""
    number = os.fstat(node.queue_fd).st_rdev
    minor = os.minor(number)
    directory = _CHARACTER_DEVICES / f"{os.major(number)}:{minor}" / "device"
    return Inherited(directory, trio.current_time, lambda: active_commands(f"sg{minor}"))
