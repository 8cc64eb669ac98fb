"""What happens to commands between an initiator and a simulated logical unit: delays and faults, to be set at any time.

A command travels three stages: to the target (``arrival_s``), in flight there (``execution_s``), and its answer back
(``answer_s``).  Faults apply to the commands sent after they were set; a link that goes down catches those under way at
their next stage.  A reset travels as a command does, takes ``reset_s`` there, and has faults of its own.
"""

import enum
from collections.abc import Callable

import attrs

from mpio_fuse.scsi.command import Command, HostStatus


class Loss(enum.Enum):
    """What of a command gets lost."""

    COMMAND = "command"
    """It never arrives: nothing happens at the target."""

    ANSWER = "answer"
    """It takes effect, and nobody is told; given back not before it has arrived."""


def any_command(_command: Command) -> bool:
    """Matches every command."""
    return True


@attrs.define
class Fault:
    """The next ``count`` commands that match, or resets, lose something; None: all of them.

    ``host_status`` is what the initiator is told and ``after_s`` when; None: at the command's own timeout, or
    the link's for resets.
    """

    loss: Loss
    matches: Callable[[Command], bool] = any_command
    count: int | None = 1
    host_status: int = HostStatus.TIME_OUT
    after_s: float | None = None

    def strikes(self, command: Command) -> bool:
        """Whether this command is struck; counts it."""
        return self.matches(command) and self.strikes_next()

    def strikes_next(self) -> bool:
        """Whether it strikes once more, whatever that is; counts it."""
        if self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        return True


@attrs.define(eq=False)
class Link:
    """One underpath's cable.

    ``times_out`` False: what is lost, or late, is never given back (a hung command, or reset).
    """

    arrival_s: float = 0.0
    execution_s: float = 0.0
    answer_s: float = 0.0
    reset_s: float = 0.0
    """How long the target takes from a reset to its confirmation; LIO: until the commands it aborts are done."""

    is_down: bool = False
    times_out: bool = True
    refused_as: int = HostStatus.NO_CONNECT
    """What a command sent into a link that is down ends with, at once."""

    interrupted_as: int = HostStatus.TRANSPORT_DISRUPTED
    """What a command ends with that was under way when the link went down."""

    dropped_as: int = HostStatus.ERROR
    """What the initiator ends its own commands with that its reset made the target drop, which tells nobody of them."""

    takes_resets: bool = True
    """False: refused at once, as by a driver or a target that has no such function."""

    reset_timeout_s: float = 30.0
    """How long the layers below wait for a reset to be confirmed; open-iscsi's lu_reset_timeout."""

    faults: list[Fault] = attrs.Factory(list)
    reset_faults: list[Fault] = attrs.Factory(list)

    @property
    def is_instant(self) -> bool:
        """Whether nothing delays a command."""
        return not (self.arrival_s or self.execution_s or self.answer_s)

    def lose_commands(
        self,
        count: int | None = 1,
        matches: Callable[[Command], bool] = any_command,
        host_status: int = HostStatus.TIME_OUT,
        after_s: float | None = None,
    ) -> Fault:
        """The next commands never arrive."""
        fault = Fault(Loss.COMMAND, matches, count, host_status, after_s)
        self.faults.append(fault)
        return fault

    def lose_answers(
        self,
        count: int | None = 1,
        matches: Callable[[Command], bool] = any_command,
        host_status: int = HostStatus.TIME_OUT,
        after_s: float | None = None,
    ) -> Fault:
        """The next commands take effect, and their answers are lost."""
        fault = Fault(Loss.ANSWER, matches, count, host_status, after_s)
        self.faults.append(fault)
        return fault

    def lose_resets(self, count: int | None = 1, after_s: float | None = None) -> Fault:
        """The next resets never arrive."""
        fault = Fault(Loss.COMMAND, count=count, after_s=after_s)
        self.reset_faults.append(fault)
        return fault

    def lose_confirmations(self, count: int | None = 1, after_s: float | None = None) -> Fault:
        """The next resets take effect, and nobody is told."""
        fault = Fault(Loss.ANSWER, count=count, after_s=after_s)
        self.reset_faults.append(fault)
        return fault

    def go_down(self) -> None:
        """Pull the cable."""
        self.is_down = True

    def come_up(self) -> None:
        """Plug it in again."""
        self.is_down = False

    def heal(self) -> None:
        """No fault and no delay any more."""
        self.faults.clear()
        self.reset_faults.clear()
        self.is_down = False
        self.arrival_s = self.execution_s = self.answer_s = self.reset_s = 0.0

    def fault_of(self, command: Command) -> Fault | None:
        """The fault that strikes this command, if any; asked once for each."""
        return next((fault for fault in self.faults if fault.strikes(command)), None)

    def fault_of_reset(self) -> Fault | None:
        """The fault that strikes the next reset, if any; asked once for each."""
        return next((fault for fault in self.reset_faults if fault.strikes_next()), None)
