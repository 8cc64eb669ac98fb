"""The states of an underpath, and how far each is in service."""

import enum

import attrs


class UnderpathState(enum.Enum):
    """As multipath names them.  Each says who sets it and what it means."""

    UNCHECKED = "unchecked"
    """Set when the underpath is made: nobody has tried to register it yet."""

    UP = "up"
    """Set by a successful registration: commands get through."""

    GHOST = "ghost"
    """Set by an ALUA answer: the path is there, but the target port is in standby."""

    DOWN = "down"
    """Set by whoever saw a command fail for transport reasons, or a registration refused."""

    DELAYED = "delayed"
    """Set after recovery: commands get through, but the hold-down is not over."""

    REMOVED = "removed"
    """Set when the node went away or turned out to be another disk; never left again."""


IN_SERVICE = (UnderpathState.UP, UnderpathState.DELAYED)
"""Registered, and commands get through.  A tuple: to hash a member takes longer than to compare it with two."""


class Service(enum.IntEnum):
    """How far an underpath carries data; a greater one is preferred always."""

    NONE = 0
    LAST_RESORT = 1
    """Only where no underpath in full service is left."""
    FULL = 2


@attrs.frozen
class Condition:
    """What people are told of an underpath's health."""

    state: UnderpathState
    is_marginal: bool = False


@attrs.frozen
class Change:
    """One change of an underpath's condition: one log record."""

    before: Condition
    after: Condition
    cause: str
