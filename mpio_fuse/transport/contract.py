"""What a transport is: the one way in which the layers above send a command down an underpath.

Theory of operation
-------------------
A transport carries one CDB at a time to one logical unit over one I_T nexus and reports how it ended.  It
decides nothing: no retry, no interpretation of sense, no path selection.  Any number of tasks may call
`Transport.execute` at once; commands beyond ``max_in_flight`` wait in order of arrival.

*Completion.*  Whatever the target or the layers below say comes back as a `Completion`, transport failures
included (``host_status``).  What was given back is over on this side: it does not reach the target later (one that
did would be a write that nobody can stop).  `TransportGone` is raised only when there is nothing left to send to: the
node was deleted, the session closed.  After it, every later call raises it too, at once.

*Time.*  ``command.timeout_s`` is a wish passed to the layers below, which may exceed it without limit (measured:
1 s asked, 134 s taken).  A caller that needs a bound cancels.

*Cancellation.*  `execute` may be cancelled at any time and then returns at once.  The command is **not** stopped:
it may still execute, now or much later.  Its buffers stay in use by the transport until the layers below give the
command back, its slot of ``max_in_flight`` stays taken, and ``stranded`` counts it until then.  A caller must
not reuse the buffers of a cancelled command.

*Closing.*  `aclose` ends every waiting `execute` with `TransportGone` and does not wait for stranded commands.
Commands that it left in flight are stranded from then on, and ``stranded`` counts them until the layers below give
them back.

*Reset.* `reset_logical_unit` is the one task management function: LOGICAL UNIT RESET (SAM-5), never escalated to a
target, bus or host reset, which would hit the users of other logical units too. Believed only when the target
confirmed it: then every command of every nexus that the logical unit had accepted before is over, whatever its sender
is told, and a SCSI-2 reservation is gone; registrations and a persistent reservation stay; every nexus gets a unit
attention (29/03). The commands under way here end as they end, each through its own `execute`. One reset at a time
goes over one transport: later ones wait. A cancelled one may still happen, and is ``stranded`` until the layers below
say how it ended.

*Starting.* A transport may also have `StartingTransport.start`: the same without a task that waits, for those who send
very many. It is told of the end in a call, which decides nothing and awaits nothing.

*Refused commands.*  A command that nobody could send (`mpio_fuse.transport.data_phase`) raises `UsageError`; one that
the layers below refuse for a reason that is not the device's raises `TransportError`.  Nothing was sent then.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from mpio_fuse.scsi.command import Command, Completion


class Transport(Protocol):
    """One underpath's way to the logical unit.  See the module's docstring for the contract."""

    @property
    def name(self) -> str:
        """The device node or URL, as the user named it: ``/dev/sg3``."""
        ...

    @property
    def max_transfer_bytes(self) -> int:
        """The most data one command may carry (the transport's limit, not the logical unit's)."""
        ...

    @property
    def max_in_flight(self) -> int:
        """How many commands the layers below accept at once."""
        ...

    @property
    def stranded(self) -> int:
        """How many commands that nobody waits for the layers below have not given back.

        They may still happen.  Includes what an earlier transport left there that used the same nexus, as far as the
        layers below outlive the process and tell of it.
        """
        ...

    async def execute(self, command: Command) -> Completion:
        """Send one command and wait for its end.

        Raises:
            TransportGone: there is nothing to send to any more.
            TransportError: the layers below do not take this command; nothing was sent.
            UsageError: its buffers or its CDB cannot be sent by anybody; nothing was sent.
        """
        ...

    async def reset_logical_unit(self) -> None:
        """Have the array drop every command that it holds for the logical unit; returns once it confirmed that.

        Raises:
            TransportGone: there is nothing to send to any more.
            TransportError: it was not confirmed (refused, not supported, no answer); it may have happened all the same.
        """
        ...

    async def aclose(self) -> None:
        """Give the node or session up.  May be called more than once."""
        ...


OnEnd = Callable[[Completion | Exception], None]


class Started(Protocol):
    """A command that was started."""

    def abandon(self) -> None:
        """Nobody waits for it any more: as if its `Transport.execute` were cancelled.  Its `OnEnd` is not called."""
        ...


@runtime_checkable
class StartingTransport(Protocol):
    """A transport that can carry a command without a task that waits for it."""

    def start(self, command: Command, on_end: OnEnd) -> Started | None:
        """Send one command, unless that takes waiting or it cannot be sent; None: nothing was done, `execute` it.

        ``on_end`` is called once, when the command is given back, perhaps before this returns; with what `execute`
        would have returned or raised.
        """
        ...
