"""What happened in one schedule, in order: records, each with its place, the array's step and the time."""

import enum
import hashlib
from collections.abc import Callable
from typing import TypeVar

import attrs

from mpio_fuse.reserve.fig07_decision import OpenOption


class Kind(enum.Enum):
    """What a user asked for."""

    OPEN = "open"
    CLOSE = "close"
    READ = "read"
    WRITE = "write"
    FLUSH = "flush"
    MOUNT = "mount"
    UNMOUNT = "unmount"


class Outcome(enum.Enum):
    """What the user was told."""

    OK = "ok"
    FENCED = "fenced"
    ERROR = "error"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    """Nobody was told: the daemon died under the request."""

    BUG = "bug"
    """An exception that no user may ever see."""


@attrs.frozen(kw_only=True)
class Record:
    """``tick`` orders records.  A command that arrives at the array later has a higher ``step`` than this."""

    tick: int
    step: int
    now_s: float


@attrs.frozen(kw_only=True)
class Noted(Record):
    """A line for people."""

    text: str


@attrs.frozen(kw_only=True)
class Began(Record):
    """A request.  ``cells`` are those it is about; ``options`` those of an open."""

    request: int
    kind: Kind
    host: str
    life: int
    handle: int | None = None
    cells: range = range(0)
    is_durable: bool = False
    options: OpenOption = OpenOption.DEFAULT
    is_epilogue: bool = False


@attrs.frozen(kw_only=True)
class Ended(Record):
    """Its end.  ``found``: the stamps read; of a flush those on the medium itself, cache left aside."""

    request: int
    outcome: Outcome
    told: str = ""
    found: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Granted(Record):
    """An open came back with a handle."""

    host: str
    life: int
    handle: int
    options: OpenOption

    @property
    def is_reserving(self) -> bool:
        return OpenOption.NO_RESERVE not in self.options


@attrs.frozen(kw_only=True)
class FencedHost(Record):
    """The device of that host says that it is fenced."""

    host: str
    life: int


@attrs.frozen(kw_only=True)
class LifeEnded(Record):
    """A daemon is gone: killed, or unmounted."""

    host: str
    life: int
    is_crash: bool


@attrs.frozen(kw_only=True)
class Landed(Record):
    """Data reached the medium.  ``arrived`` is the array's step at which the command had come and was checked."""

    host: str
    port: int
    arrived: int
    held_by: str
    """Who held the reservation when it arrived; empty: nobody."""

    sent: int
    """The tick at which it left its host."""

    first_cell: int
    stamps: tuple[int, ...]
    is_other_disk: bool = False


@attrs.frozen(kw_only=True)
class ReserveOut(Record):
    """A PERSISTENT RESERVE OUT that the array carried out.  Hosts stand for their keys; empty: none."""

    host: str
    port: int
    action: str
    arrived: int
    of_key: str
    """The service action's key: whom a preempt was about; of a registration, whose it is now."""

    held_before: str
    held_after: str
    registered: tuple[str, ...]
    """The hosts that have a registration afterwards, each as often as it has."""


@attrs.frozen(kw_only=True)
class Asked(Record):
    """The array told that host who is registered, or who holds."""

    host: str


@attrs.frozen(kw_only=True)
class PowerLost(Record):
    """The array lost power; ``stamps`` is what is on the medium now, ``keeps`` whether reservations are too."""

    stamps: tuple[int, ...]
    keeps: bool


@attrs.frozen(kw_only=True)
class Sent(Record):
    """A data command left a host.  ``registered``: the device believes so; ``told``: the array has said so."""

    host: str
    life: int
    port: int
    name: str
    registered: bool
    told: bool


@attrs.frozen(kw_only=True)
class Warned(Record):
    """A host was told, by a unit attention or a conflict, that something has become of its registration or its disk."""

    host: str
    port: int
    is_conflict: bool = False


@attrs.frozen(kw_only=True)
class Swapped(Record):
    """Another disk sits behind that node now."""

    host: str
    port: int


@attrs.frozen(kw_only=True)
class Settled(Record):
    """All faults are over, all is closed, and time has passed: what is left.

    ``pending``: requests without an end.  ``cut_off``: hosts that have lost every underpath for good.
    """

    held_by: str
    pending: tuple[int, ...]
    cut_off: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Over(Record):
    """After the epilogue, when all hosts have unmounted: what they left at the array.

    ``registered``: whose sessions are; ``forlorn``: whose sessions were, and are no more.
    """

    held_by: str
    registered: tuple[str, ...]
    forlorn: tuple[str, ...]
    cut_off: tuple[str, ...]


R = TypeVar("R", bound=Record)


class Chronicle:
    """The records of one schedule, in order."""

    def __init__(self, clock: Callable[[], float], step: Callable[[], int]) -> None:
        self.records: list[Record] = []
        self._clock = clock
        self._step = step

    def add(self, kind: type[R], /, **facts: object) -> R:
        """Write down what has just happened."""
        record = kind(
            tick=len(self.records), step=self._step(), now_s=round(self._clock(), 6), **facts
        )
        self.records.append(record)
        return record

    def note(self, text: str) -> None:
        """Write down a line for people."""
        self.add(Noted, text=text)

    @property
    def digest(self) -> str:
        """The same for the same course of events, and for no other."""
        return hashlib.sha256("\n".join(map(repr, self.records)).encode()).hexdigest()


def line(record: Record) -> str:
    """One record for people."""
    if isinstance(record, Noted):
        return f"{record.now_s:10.4f}  -- {record.text}"
    facts = {
        field.name: getattr(record, field.name)
        for field in attrs.fields(type(record))
        if field.name not in {"tick", "step", "now_s"}
        and getattr(record, field.name) != field.default
    }
    text = " ".join(f"{name}={_text(value)}" for name, value in facts.items())
    return f"{record.now_s:10.4f} {record.tick:4} {type(record).__name__.lower():10} {text}"


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value) if isinstance(value, OpenOption) else str(value.value)
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    return str(value)
