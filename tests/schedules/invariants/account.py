"""The chronicle by what the invariants ask about: requests with their ends, handles with their lives, and so on."""

from typing import TypeVar

import attrs

from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.schedules.chronicle import (
    Began,
    Ended,
    FencedHost,
    Granted,
    Kind,
    LifeEnded,
    Outcome,
    PowerLost,
    Record,
    ReserveOut,
)

NEVER = 1 << 60
"""The tick of what did not happen."""

ABORTS = "PREEMPT_AND_ABORT"
TAKES = frozenset((ABORTS, "PREEMPT", "CLEAR"))
"""What takes registrations, and with the holder's the reservation."""

REGISTERS = frozenset(("REGISTER", "REGISTER_AND_IGNORE_EXISTING_KEY"))


@attrs.frozen
class Violation:
    """What broke a promise; ``tick`` is the record that shows it."""

    tick: int
    what: str
    invariant: int = 0

    def of(self, invariant: int) -> "Violation":
        """The same, under the invariant's number."""
        return attrs.evolve(self, invariant=invariant)

    def __str__(self) -> str:
        return f"invariant {self.invariant}, record {self.tick}: {self.what}"


def victim_of(take: ReserveOut) -> str:
    """The host that one of `TAKES` was about; of a CLEAR, which is about all, the one that held."""
    return take.held_before if take.action == "CLEAR" else take.of_key


@attrs.define(eq=False)
class Request:
    """A request from its beginning to its end."""

    began: Began
    ended: Ended | None = None

    @property
    def number(self) -> int:
        return self.began.request

    @property
    def end_tick(self) -> int:
        return self.ended.tick if self.ended else NEVER

    @property
    def is_ok(self) -> bool:
        return self.ended is not None and self.ended.outcome is Outcome.OK

    def is_before(self, other: "Request") -> bool:
        """Whether it was over when the other began."""
        return self.end_tick < other.began.tick


@attrs.define(eq=False)
class Holding:
    """A handle: from when it was granted to when its user began to close it, or its device was fenced or died."""

    granted: Granted
    closing_tick: int = NEVER
    closed_tick: int = NEVER
    dead_tick: int = NEVER
    owned_tick: int = -1
    """The last tick, up to its grant, at which the array had the reservation as its host's."""

    @property
    def host(self) -> str:
        return self.granted.host

    @property
    def is_reserving(self) -> bool:
        return self.granted.is_reserving

    def stands_at(self, tick: int) -> bool:
        """Whether its user may rely on it: granted, not closing, not fenced, its daemon alive."""
        return self.granted.tick < tick < min(self.closing_tick, self.dead_tick)


R = TypeVar("R", bound=Record)


@attrs.define
class Account:
    """One schedule's chronicle, ready to be asked."""

    records: list[Record]
    requests: dict[int, Request] = attrs.Factory(dict)
    handles: dict[int, Holding] = attrs.Factory(dict)
    holders: list[str] = attrs.Factory(list)
    """Who held the reservation before each record."""

    def all(self, kind: type[R]) -> list[R]:
        """The records of one kind, in order."""
        return [one for one in self.records if isinstance(one, kind)]

    def handle_of(self, request: Request) -> Holding | None:
        """The handle that a request was made through."""
        return self.handles.get(request.began.handle or 0)

    def is_shared(self, request: Request) -> bool:
        """Whether it was made through a handle without a reservation."""
        handle = self.handle_of(request)
        return handle is not None and OpenOption.NO_RESERVE in handle.granted.options

    def of_kind(self, *kinds: Kind) -> list[Request]:
        """The requests of some kinds, in order."""
        return [one for one in self.requests.values() if one.began.kind in kinds]


def account_of(records: list[Record]) -> Account:
    """Read a chronicle."""
    account = Account(records)
    last_owned: dict[str, int] = {}
    holder = ""
    for record in records:
        last_owned[holder] = record.tick
        account.holders.append(holder)
        if isinstance(record, ReserveOut):
            holder = record.held_after
        elif isinstance(record, PowerLost) and not record.keeps:
            holder = ""
        if isinstance(record, Began):
            _begin(account, record)
        elif isinstance(record, Ended):
            _end(account, record)
        elif isinstance(record, Granted):
            owned_tick = last_owned.get(record.host, -1)
            account.handles[record.handle] = Holding(record, owned_tick=owned_tick)
        elif isinstance(record, FencedHost | LifeEnded):
            _die(account, record)
    return account


def _begin(account: Account, record: Began) -> None:
    account.requests[record.request] = Request(record)
    if record.kind is Kind.CLOSE and record.handle in account.handles:
        account.handles[record.handle].closing_tick = record.tick
    if record.kind is Kind.UNMOUNT:
        for handle in account.handles.values():
            if (handle.host, handle.granted.life) == (record.host, record.life):
                handle.closing_tick = min(handle.closing_tick, record.tick)


def _end(account: Account, record: Ended) -> None:
    request = account.requests[record.request]
    request.ended = record
    if request.began.kind is Kind.CLOSE and request.began.handle in account.handles:
        account.handles[request.began.handle].closed_tick = record.tick


def _die(account: Account, record: FencedHost | LifeEnded) -> None:
    for handle in account.handles.values():
        if (handle.host, handle.granted.life) == (record.host, record.life):
            handle.dead_tick = min(handle.dead_tick, record.tick)
