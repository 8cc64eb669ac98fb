"""Invariants 1 and 7: what was acknowledged stays, and what is read is what was written.

Writes are ordered by what their users could see: one is *older* than another when it had ended, however it ended,
before the other began.  Those that overlap in time have no order, and either may be what stays.  A write that ended
in an error, or whose caller went away, may be there or not, and may come later; but never over an acknowledged one that
is newer.

Writes through a NO_RESERVE handle promise less (docs/design.md, section 2, "Ghost writes"): nothing at the array ends
what such a host has under way.  So a copy of one that was sent, or arrived, while its host did not hold the
reservation is let pass, and so is what another host does to what such a handle wrote.
"""

from collections.abc import Iterator

import attrs

from tests.schedules.chronicle import (
    Began,
    Ended,
    Kind,
    Landed,
    Outcome,
    PowerLost,
    ReserveOut,
    Swapped,
    Warned,
)
from tests.schedules.invariants.account import TAKES, Account, Request, Violation, victim_of
from tests.schedules.stamps import CELLS, CELLS_PER_BLOCK, OTHER_DISK, TORN

_NOTHING = Request(
    Began(tick=-2, step=0, now_s=0.0, request=0, kind=Kind.WRITE, host="", life=0),
    Ended(tick=-1, step=0, now_s=0.0, request=0, outcome=Outcome.ERROR),
)
"""What was on the medium before anybody wrote."""


def acknowledged_writes_stay(account: Account) -> Iterator[Violation]:
    """1: a write acknowledged to the caller is on the medium's current state; nothing older lands over it."""
    yield from (one for kind, one in _Walk(account).run() if kind is not Kind.READ)


def reads_belong_to_the_disk(account: Account) -> Iterator[Violation]:
    """7: read data are this disk's, and as new as what was acknowledged; no other disk carries anything."""
    for landed in account.all(Landed):
        if landed.is_other_disk and _was_told(account, landed):
            yield Violation(landed.tick, f"{landed.host}{landed.port} used another disk")
    yield from (one for kind, one in _Walk(account).run() if kind is Kind.READ)


def _was_told(account: Account, landed: Landed) -> bool:
    """Whether its host had been told when it sent this: a unit attention stops the one command that it answers."""
    swapped = [
        one.tick
        for one in account.all(Swapped)
        if (one.host, one.port) == (landed.host, landed.port) and one.tick < landed.tick
    ]
    return any(
        (one.host, one.port) == (landed.host, landed.port) and swapped[-1] < one.tick < landed.sent
        for one in account.all(Warned)
    )


@attrs.define
class _Cell:
    """What is on one cell, and whose acknowledged writes are."""

    content: Request = _NOTHING
    carrier: str = ""
    is_weak: bool = False
    acknowledged: list[Request] = attrs.Factory(list)
    durable: list[Request] = attrs.Factory(list)


class _Walk:
    """Follows the cells through the chronicle."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._cells = [_Cell() for _ in range(CELLS)]
        self._power_lost_tick = -1
        self._flushed: dict[int, int] = {}
        self._stray: set[int] = set()
        """Requests that met another disk; whether they may is asked elsewhere."""

    def run(self) -> Iterator[tuple[Kind, Violation]]:
        """What is wrong, and which kind of request it is about."""
        for record in self._account.records:
            if isinstance(record, Landed):
                if record.is_other_disk:
                    self._strayed(record)
                else:
                    yield from ((Kind.WRITE, one) for one in self._land(record))
            elif isinstance(record, PowerLost):
                yield from ((Kind.WRITE, one) for one in self._lose_power(record))
            elif isinstance(record, Ended):
                request = self._account.requests[record.request]
                yield from ((request.began.kind, one) for one in self._end(request))

    def _land(self, record: Landed) -> Iterator[Violation]:
        for number, stamp in enumerate(record.stamps, record.first_cell):
            if stamp == TORN:
                yield Violation(record.tick, f"cell {number} is torn")
            elif number < CELLS:
                yield from self._land_on(number, self._written_by(stamp), record)

    def _land_on(self, number: int, request: Request, record: Landed) -> Iterator[Violation]:
        cell = self._cells[number]
        before = cell.content
        holders = {record.held_by, self._account.holders[record.sent]}
        is_weak = self._account.is_shared(request) and holders != {request.began.host}
        cell.content, cell.carrier, cell.is_weak = request, record.host, is_weak
        if request is before or is_weak:
            return
        for promised in cell.acknowledged:
            if request.is_before(promised) and not self._is_strangers(promised, record.host):
                if self._is_unstoppable(record, promised):
                    cell.is_weak = True
                    return
                yield Violation(record.tick, _over(number, request, promised))
                return
        is_both = request in cell.acknowledged and before in cell.acknowledged
        if is_both and not self._is_unstoppable(record, before):
            yield Violation(record.tick, _over(number, request, before))

    def _strayed(self, record: Landed) -> None:
        self._stray |= {
            one.number
            for one in self._account.requests.values()
            if one.began.host == record.host
            and one.began.tick < record.tick < one.end_tick
            and _share_a_block(one.began.cells, record)
        }

    def _end(self, request: Request) -> Iterator[Violation]:
        if not request.is_ok or request.number in self._stray:
            return
        kind = request.began.kind
        if kind is Kind.WRITE:
            yield from self._acknowledge(request)
        elif kind is Kind.READ:
            yield from self._read(request)
        elif kind is Kind.FLUSH:
            yield from self._flush(request)

    def _acknowledge(self, request: Request) -> Iterator[Violation]:
        if self._power_lost_tick > request.began.tick and not request.began.is_durable:
            return  # it may have been in the cache already
        for number in request.began.cells:
            cell = self._cells[number]
            if cell.content.is_before(request) and not self._may_differ(cell, request):
                what = f"was acknowledged, but there is {_name(cell.content)}"
                yield Violation(request.end_tick, f"cell {number}: {_name(request)} {what}")
            cell.acknowledged.append(request)
            if request.began.is_durable:
                cell.durable.append(request)

    def _read(self, request: Request) -> Iterator[Violation]:
        found = request.ended.found if request.ended else ()
        for number, stamp in zip(request.began.cells, found, strict=True):
            if stamp in {TORN, OTHER_DISK}:
                yield Violation(request.end_tick, f"{_name(request)} found no data of ours")
                continue
            cell, written = self._cells[number], self._written_by(stamp)
            for promised in cell.acknowledged:
                is_known = promised.is_before(request) and written.is_before(promised)
                if is_known and not cell.is_weak and not self._is_strangers(promised, cell.carrier):
                    what = f"found {_name(written)}, but {_name(promised)} was acknowledged"
                    yield Violation(request.end_tick, f"cell {number}: {_name(request)} {what}")
                    break

    def _flush(self, request: Request) -> Iterator[Violation]:
        """What this handle wrote before is on the medium itself."""
        handle = request.began.handle or 0
        found = request.ended.found if request.ended else ()
        for number, cell in enumerate(self._cells):
            written = self._written_by(found[number])
            for promised in self._written_through(handle, cell, request):
                if written.is_before(promised) and not self._may_differ(cell, promised):
                    what = f"told that {_name(promised)} is safe, but there is {_name(written)}"
                    yield Violation(request.end_tick, f"cell {number}: {_name(request)} {what}")
            host = request.began.host
            cell.durable += [
                one
                for one in cell.acknowledged
                if one.is_before(request) and one.began.host == host
            ]
        self._flushed[handle] = request.began.tick

    def _written_through(self, handle: int, cell: _Cell, flush: Request) -> list[Request]:
        since = self._flushed.get(handle, -1)
        return [
            one
            for one in cell.acknowledged
            if one.began.handle == handle and since < one.end_tick and one.is_before(flush)
        ]

    def _lose_power(self, record: PowerLost) -> Iterator[Violation]:
        self._power_lost_tick = record.tick
        for number, (cell, stamp) in enumerate(zip(self._cells, record.stamps, strict=True)):
            left = self._written_by(stamp)
            for promised in cell.durable:
                if left.is_before(promised) and not self._may_differ(cell, promised):
                    what = f"power loss left {_name(left)} instead of {_name(promised)}"
                    yield Violation(record.tick, f"cell {number}: {what}, which was safe")
                    break
            if left is not cell.content:
                cell.content = left
            cell.acknowledged = list(cell.durable)

    def _is_unstoppable(self, record: Landed, promised: Request) -> bool:
        """What was sent before the newer write had ended, and then let in because nobody held the disk any more.

        A reservation keeps a preempted host out as long as somebody holds it; after the last close nothing does.
        """
        is_preempted = record.host != promised.began.host or any(
            victim_of(one) == record.host != one.host and record.sent < one.tick < record.tick
            for one in self._account.all(ReserveOut)
            if one.action in TAKES
        )
        return is_preempted and not record.held_by and record.sent < promised.end_tick

    def _may_differ(self, cell: _Cell, promised: Request) -> bool:
        return cell.is_weak or self._is_strangers(promised, cell.carrier)

    def _is_strangers(self, promised: Request, host: str) -> bool:
        """Whether that was written without a reservation, so that what another host does to it is allowed."""
        return self._account.is_shared(promised) and host != promised.began.host

    def _written_by(self, stamp: int) -> Request:
        return self._account.requests.get(stamp, _NOTHING)


def _share_a_block(cells: range, landed: Landed) -> bool:
    """Whether a request for these cells may have sent that: it is sent in whole blocks."""
    first = cells.start - cells.start % CELLS_PER_BLOCK
    stop = -(-cells.stop // CELLS_PER_BLOCK) * CELLS_PER_BLOCK
    return first < landed.first_cell + len(landed.stamps) and landed.first_cell < stop


def _over(number: int, older: Request, newer: Request) -> str:
    return f"cell {number}: {_name(older)} landed over {_name(newer)}, which was acknowledged"


def _name(request: Request) -> str:
    if request is _NOTHING:
        return "nothing"
    handle = f" through handle {request.began.handle}" if request.began.handle else ""
    return f"{request.began.kind.value} {request.number} by {request.began.host}{handle}"
