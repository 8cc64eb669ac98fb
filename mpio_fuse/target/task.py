"""Commands under way in a logical unit: tasks, their answers, and the log of those that ended."""

import enum
from collections.abc import Callable

import attrs

from mpio_fuse.scsi.command import Completion, Status
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.refusal import Ending
from mpio_fuse.target.state import Request


@attrs.frozen
class Answer:
    """What goes back to the initiator."""

    status: Status = Status.GOOD
    sense: bytes = attrs.field(default=b"", repr=lambda sense: sense.hex(" "))
    data_in: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")

    @property
    def is_good(self) -> bool:
        return self.status is Status.GOOD

    def completion(self, buffer_length_bytes: int = 0) -> Completion:
        """As the initiator's layers report it, for a data-in buffer of that length."""
        received = min(len(self.data_in), buffer_length_bytes)
        residual = buffer_length_bytes - received
        return Completion(status=self.status, sense=self.sense, residual_bytes=residual)


class Progress(enum.Enum):
    """How far a task has come."""

    IN_FLIGHT = "in flight"
    ENDED = "ended"
    ABORTED = "aborted"


@attrs.frozen
class LogEntry:
    """One command that ended.  ``answer`` is None when it was aborted and nobody told its initiator."""

    step: int
    arrived: int
    nexus: Nexus
    cdb: bytes = attrs.field(repr=lambda cdb: cdb.hex(" "))
    answer: Answer | None


@attrs.define
class Interference:
    """The next ``count`` commands of that kind end like this on arrival: BUSY, an access state, a broken disk."""

    ending: Ending
    count: int | None = 1
    opcode: int | None = None
    nexus: Nexus | None = None

    def strikes(self, nexus: Nexus, cdb: bytes) -> bool:
        """Whether it ends this command; counts it."""
        if self.count == 0 or self.opcode not in {None, cdb[0]} or self.nexus not in {None, nexus}:
            return False
        if self.count is not None:
            self.count -= 1
        return True


@attrs.define(eq=False)
class Task:
    """A command that arrived.  ``answer`` is there once it ended, unless it was aborted in silence."""

    _perform: "Callable[[Task], None]" = attrs.field(repr=False)
    request: Request
    held_by_key: ReservationKey | None = None
    """The key that held the reservation when the command arrived."""

    progress: Progress = Progress.IN_FLIGHT
    answer: Answer | None = None
    on_end: Callable[[], None] = lambda: None
    """Called once, when the task has ended or was aborted."""

    @property
    def is_in_flight(self) -> bool:
        return self.progress is Progress.IN_FLIGHT

    def perform(self) -> Answer | None:
        """Carry the command out, unless that is over already; returns its answer."""
        if self.is_in_flight:
            self._perform(self)
        return self.answer
