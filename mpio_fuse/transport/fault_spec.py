"""What a fault is, as plain data: which commands of which underpath, when and how often, and what becomes of them."""

import enum
import fnmatch

import attrs

from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.transport.fault_words import CommandCode, blocks_of


class Action(enum.Enum):
    """What becomes of a command that is struck."""

    ERROR = "error"
    """It is not sent and ends as told."""

    DELAY = "delay"
    """It is sent late, or its answer comes late."""

    DROP = "drop"
    """It is not sent, and nobody is told before a time is over."""

    LOSE_ANSWER = "lose-answer"
    """It is sent and takes effect; its answer is thrown away."""

    HANG = "hang"
    """It stays where it is until the fault is lifted, and is sent then."""

    GONE = "gone"
    """The underpath is gone, for this and all later commands."""


class Direction(enum.Enum):
    """Which way the data goes, seen from this host."""

    IN = "in"
    OUT = "out"
    NONE = "none"

    @classmethod
    def of(cls, command: Command) -> "Direction":
        if command.data_in is not None and len(command.data_in):
            return cls.IN
        return cls.OUT if len(command.data_out) else cls.NONE


@attrs.frozen
class Match:
    """Which commands; None does not ask.  ``lba`` is a range of blocks of which one is enough."""

    on: frozenset[CommandCode] | None = None
    lba: range | None = None
    direction: Direction | None = None

    def matches(self, command: Command) -> bool:
        """Whether the command is one of these."""
        if self.on is not None and not any(code.is_of(command) for code in self.on):
            return False
        if self.direction not in {None, Direction.of(command)}:
            return False
        return self.lba is None or _overlap(self.lba, blocks_of(command))


def _overlap(wanted: range, blocks: range | None) -> bool:
    return blocks is not None and blocks.start < wanted.stop and wanted.start < blocks.stop


TIMED_OUT = Completion(host_status=HostStatus.TIME_OUT)


@attrs.frozen(kw_only=True)
class FaultSpec:
    """One fault, parsed.

    ``told``: how the command is said to have ended; None: it never is.  ``at_s``: how long after it was sent that is;
    None: at the command's own timeout, for an error at once.  ``from_s`` and ``until_s`` count from when the fault was
    set.  ``after``: so many matching commands pass first; then each is struck with ``probability``, ``count`` in all.
    """

    underpath: str
    text: str
    action: Action
    told: Completion | None = TIMED_OUT
    at_s: float | None = None
    delay_s: float = 0.0
    is_answer_delayed: bool = False
    match: Match = Match()
    count: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    from_s: float = 0.0
    until_s: float | None = None

    @property
    def line(self) -> str:
        """The whole line, from which the same fault is parsed again."""
        return f"{self.underpath}: {self.text}"

    def is_about(self, underpath: str) -> bool:
        """Whether it is this underpath's: the name itself, or a pattern as a shell has them."""
        return underpath == self.underpath or fnmatch.fnmatchcase(underpath, self.underpath)
