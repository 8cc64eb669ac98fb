"""Invariants 5, 6 and 8: what those who were fenced are told, that everything ends, and what is left behind."""

from collections.abc import Iterator

from tests.schedules.chronicle import (
    FencedHost,
    Kind,
    Outcome,
    Over,
    PowerLost,
    ReserveOut,
    Settled,
)
from tests.schedules.invariants.account import (
    REGISTERS,
    TAKES,
    Account,
    Holding,
    Request,
    Violation,
)

BOUND_S = 130.0
"""With an I/O timeout of 2 s, a control timeout of 1 s and at most four underpaths: once the wait for an underpath
to come back, and once that for a PREEMPT AND ABORT, 60 s each; the rest is little beside them."""

SLACK_S = 0.001
USE_BOUND_S = 70.0
"""Of a read, write or flush, as docs/config.md computes it: twice 2 s and a check of 1 + 2 s, and 60 s."""

_SETTLES = frozenset((Outcome.OK, Outcome.ERROR, Outcome.FENCED))
_USES = (Kind.READ, Kind.WRITE, Kind.FLUSH)


def fenced_is_for_good(account: Account) -> Iterator[Violation]:
    """5: a handle that was told EBADE is told EBADE for good, so is every other of its grant; and not for nothing."""
    uses = account.of_kind(*_USES)
    for told in uses:
        if told.ended is None or told.ended.outcome is not Outcome.FENCED:
            continue
        fenced = account.handle_of(told)
        for later in uses:
            if fenced and told.is_before(later) and _is_of_grant(account, later, fenced, told):
                ended = later.ended
                if ended and ended.outcome in _SETTLES and ended.outcome is not Outcome.FENCED:
                    what = f"{later.began.kind.value} {later.number} was told {ended.outcome.value}"
                    yield Violation(ended.tick, f"{what} after {told.number} was told EBADE")
                    return
    yield from _fenced_for_nothing(account)


def _is_of_grant(account: Account, request: Request, fenced: Holding, told: Request) -> bool:
    handle = account.handle_of(request)
    return (
        handle is not None
        and (handle.host, handle.granted.life) == (fenced.host, fenced.granted.life)
        and handle.granted.tick <= max(fenced.granted.tick, _fence_tick(account, fenced, told))
    )


def _fence_tick(account: Account, handle: Holding, told: Request) -> int:
    """When the device of the handle found itself fenced; what was granted later is another grant."""
    ticks = (
        one.tick
        for one in account.all(FencedHost)
        if (one.host, one.life) == (handle.host, handle.granted.life)
        and handle.granted.tick < one.tick < told.end_tick
    )
    return next(ticks, handle.granted.tick)


def _fenced_for_nothing(account: Account) -> Iterator[Violation]:
    for fenced in account.all(FencedHost):
        for handle in account.handles.values():
            if handle.dead_tick == fenced.tick and handle.closing_tick > fenced.tick:
                if not _has_cause(account, handle, fenced.tick):
                    yield Violation(
                        fenced.tick, f"{handle.host} was fenced, and nobody took its disk"
                    )
                break


def _has_cause(account: Account, handle: Holding, tick: int) -> bool:
    """Whether anybody else did what can end a grant.

    One without a reservation has only the generation to tell by that nobody has acted: whatever raises it may end it.
    """
    for record in account.records[_since_tick(account, handle) : tick]:
        if isinstance(record, PowerLost) and not record.keeps:
            return True
        if isinstance(record, ReserveOut) and record.host != handle.host:
            is_theirs = record.held_after not in {"", handle.host}
            is_counted = not handle.is_reserving and record.action in REGISTERS
            if record.action in TAKES or is_theirs or is_counted:
                return True
    return False


def _since_tick(account: Account, handle: Holding) -> int:
    """Since when what others do may end its grant."""
    if handle.is_reserving:
        return max(handle.owned_tick, 0)
    opens = (
        one.began.tick
        for one in account.of_kind(Kind.OPEN)
        if one.began.handle == handle.granted.handle
    )
    return next(opens, 0)


def every_request_ends(account: Account) -> Iterator[Violation]:
    """6: every request ends, within a bound, also when all underpaths hang; and never with an unheard-of error."""
    for request in account.requests.values():
        if request.ended is None:
            continue
        lasted_s = request.ended.now_s - request.began.now_s
        name = f"{request.began.kind.value} {request.number} by {request.began.host}"
        bound_s = USE_BOUND_S if request.began.kind in _USES else BOUND_S
        if lasted_s > bound_s + SLACK_S:
            yield Violation(request.end_tick, f"{name} took {lasted_s:.1f} s")
        if request.ended.outcome is Outcome.BUG:
            yield Violation(request.end_tick, f"{name}: {request.ended.told}")
    for settled in account.all(Settled):
        for number in settled.pending:
            request = account.requests[number]
            what = f"{request.began.kind.value} {number} by {request.began.host}"
            yield Violation(settled.tick, f"{what} never ended")


def the_next_open_finds_its_way(account: Account) -> Iterator[Violation]:
    """8: whatever was cancelled, killed or unmounted, the next open works, and the next unmount leaves nothing."""
    forlorn = {name for over in account.all(Over) for name in over.forlorn}
    for request in account.requests.values():
        ended = request.ended
        if not request.began.is_epilogue or ended is None:
            continue
        is_excused = (
            request.began.kind is Kind.UNMOUNT
            and request.began.host in forlorn
            and "is still registered" in ended.told
        )
        if ended.outcome is not Outcome.OK and not is_excused:
            name = f"{request.began.kind.value} {request.number} by {request.began.host}"
            yield Violation(ended.tick, f"all is well again, but {name}: {ended.told}")
    for over in account.all(Over):
        left = [one for one in over.registered if one not in {*over.cut_off, *over.forlorn}]
        if over.held_by and over.held_by not in over.cut_off:
            yield Violation(over.tick, f"{over.held_by} has unmounted and holds the disk")
        if left:
            yield Violation(over.tick, f"unmounted, and registered still: {', '.join(left)}")
