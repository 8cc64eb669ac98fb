"""Invariants 2, 3 and 4: whose disk it is, what that takes, and how it is given back."""

from collections.abc import Iterator

from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.schedules.chronicle import (
    Asked,
    Ended,
    FencedHost,
    Granted,
    Kind,
    Landed,
    LifeEnded,
    Outcome,
    Over,
    ReserveOut,
    Sent,
    Settled,
    Warned,
)
from tests.schedules.invariants.account import (
    ABORTS,
    REGISTERS,
    TAKES,
    Account,
    Holding,
    Violation,
    victim_of,
)

GIVES = REGISTERS | {"RELEASE", "CLEAR"}


def fenced_hosts_stay_out(account: Account) -> Iterator[Violation]:
    """2: after another host's preempt completed nothing of ours lands, and nothing registers us for an old handle."""
    takes = [one for one in account.all(ReserveOut) if one.action in TAKES]
    owners = [one for one in account.handles.values() if one.is_reserving]
    for landed in account.all(Landed):
        handle = _carrying_handle(account, landed)
        if handle is not None and handle.is_reserving:
            yield from _after_a_newer_owner(account, landed, handle, owners)
            yield from _after_a_preempt(account, landed, handle, takes)
    for registration in account.all(ReserveOut):
        if registration.action in REGISTERS and registration.of_key == registration.host:
            yield from _knew_better(account, registration, takes)


def _carrying_handle(account: Account, landed: Landed) -> Holding | None:
    """Through which handle the host wrote: of the stamps in its block its own latest is what it came for."""
    if landed.is_other_disk:
        return None
    written = (account.requests.get(stamp) for stamp in landed.stamps)
    own = [one for one in written if one is not None and one.began.host == landed.host]
    return account.handle_of(max(own, key=lambda one: one.number)) if own else None


def _after_a_newer_owner(
    account: Account, landed: Landed, handle: Holding, owners: list[Holding]
) -> Iterator[Violation]:
    for owner in owners:
        is_newer = handle.owned_tick < owner.owned_tick and owner.granted.tick < landed.tick
        is_excused = _is_beyond_control(account, landed, _lost_tick(account, handle))
        if owner.host != handle.host and is_newer and not is_excused:
            name, newer = handle.granted.handle, owner.granted.handle
            what = f"a write through handle {name} landed after handle {newer} of {owner.host} was granted"
            yield Violation(landed.tick, what)
            return


def _lost_tick(account: Account, handle: Holding) -> int:
    """When its host lost the reservation that it was granted with."""
    losses = (
        one.tick
        for one in account.all(ReserveOut)
        if one.tick > handle.owned_tick and one.held_before == handle.host != one.held_after
    )
    return next(losses, handle.owned_tick)


def _after_a_preempt(
    account: Account, landed: Landed, handle: Holding, takes: list[ReserveOut]
) -> Iterator[Violation]:
    for take in takes:
        is_victim = take.host != handle.host and victim_of(take) == handle.host
        if (
            is_victim
            and handle.owned_tick < take.tick < landed.tick
            and not _may_land_after(account, landed, take)
        ):
            what = f"a write through handle {handle.granted.handle} landed"
            yield Violation(landed.tick, f"{what} after the {take.action} of record {take.tick}")
            return


def _may_land_after(account: Account, landed: Landed, take: ReserveOut) -> bool:
    """It had arrived before, and nobody told the array to abort it; or see `_is_beyond_control`."""
    if landed.arrived <= take.step:
        return take.action != ABORTS
    return _is_beyond_control(account, landed, take.tick)


def _is_beyond_control(account: Account, landed: Landed, since_tick: int) -> bool:
    """What the array cannot refuse, and the host not know of.

    Nobody held the disk any more when it arrived, and it had left its host before that was told of what had happened: a
    unit attention stops the one command that it answers, not those beside it.
    """
    return not landed.held_by and not any(
        one.host == landed.host and since_tick < one.tick < landed.sent
        for one in account.all(Warned)
    )


def _knew_better(
    account: Account, registration: ReserveOut, takes: list[ReserveOut]
) -> Iterator[Violation]:
    """Registered for an old handle, although the array had told since that it was preempted.

    A handle that was fenced already before is nobody's: what its host registers after another open is for that one, or
    for standing by.
    """
    host = registration.host
    for take in takes:
        if take.host == host or take.tick > registration.tick or victim_of(take) != host:
            continue
        old = any(
            one.host == host and one.is_reserving and one.granted.tick < take.tick
            and registration.tick < min(one.closed_tick, _life_end(account, one))
            and not _was_fenced(account, host, one.granted.tick, take.tick)
            for one in account.handles.values()
        )  # fmt: skip
        is_told = any(
            one.host == host and take.tick < one.tick and one.step < registration.arrived
            for one in account.all(Asked)
        )
        if old and is_told and not _is_opening(account, host, take.tick, registration.tick):
            yield Violation(registration.tick, f"{host} registered again after record {take.tick}")
            return


def _life_end(account: Account, handle: Holding) -> int:
    ends = (
        one.tick
        for one in account.all(LifeEnded)
        if (one.host, one.life) == (handle.host, handle.granted.life)
    )
    return next(ends, 1 << 60)


def _was_fenced(account: Account, host: str, after_tick: int, before_tick: int) -> bool:
    return any(
        one.host == host and after_tick < one.tick < before_tick for one in account.all(FencedHost)
    )


def _is_opening(account: Account, host: str, after_tick: int, tick: int) -> bool:
    """Whether an open, or a mount, of that host was under way or came after the preempt: it may register."""
    return any(
        one.began.host == host and one.began.tick < tick and one.end_tick > after_tick
        for one in account.of_kind(Kind.OPEN, Kind.MOUNT, Kind.UNMOUNT)
    )


def data_need_registration_and_grant(account: Account) -> Iterator[Violation]:
    """3: no data command leaves on an underpath that is not registered, or without a granted open."""
    for sent in account.all(Sent):
        name = f"{sent.name} on {sent.host}{sent.port}"
        if not sent.registered:
            yield Violation(sent.tick, f"{name}, which is not registered")
        elif not sent.told:
            yield Violation(sent.tick, f"{name}, which the array never said was registered")
        if not any(_is_granted(one, sent) for one in account.handles.values()):
            yield Violation(sent.tick, f"{name}, and nobody has it open")


def _is_granted(handle: Holding, sent: Sent) -> bool:
    is_of_life = (handle.host, handle.granted.life) == (sent.host, sent.life)
    return is_of_life and handle.granted.tick < sent.tick < min(
        handle.closed_tick, handle.dead_tick
    )


def the_last_close_releases(account: Account) -> Iterator[Violation]:
    """4: a reservation is released exactly by the last close that should release it, whatever died before."""
    for out in account.all(ReserveOut):
        is_given_up = out.action in GIVES and out.held_before == out.host and not out.held_after
        if is_given_up:
            for handle in account.handles.values():
                if handle.host == out.host and handle.is_reserving and handle.stands_at(out.tick):
                    what = f"{out.action} gave up the reservation of {out.host}"
                    yield Violation(out.tick, f"{what} under handle {handle.granted.handle}")
    for settled in account.all(Settled):
        holder = settled.held_by
        if holder and holder not in {*settled.cut_off, "x"} and not _retains(account, holder):
            yield Violation(settled.tick, f"all is closed, and {holder} still holds the disk")


def _is_failed_unmount(account: Account, record: Ended, host: str) -> bool:
    began = account.requests[record.request].began
    is_unmount = (began.kind, began.host) == (Kind.UNMOUNT, host)
    return (
        is_unmount and record.outcome is Outcome.ERROR and "is still registered" not in record.told
    )


def _retains(account: Account, host: str) -> bool:
    """Whether the host's last grant was to outlive its close, a crash left it, or an unmount said that it does."""
    retains = False
    for record in account.records:
        if isinstance(record, Granted) and record.host == host:
            stands = any(
                one.host == host
                and one.granted.tick < record.tick < min(one.closed_tick, one.dead_tick)
                for one in account.handles.values()
            )
            wants = OpenOption.RETAIN_RESERVATION in record.options
            retains = wants or (retains and stands)
        elif (isinstance(record, LifeEnded) and record.host == host and record.is_crash) or (
            isinstance(record, Ended) and _is_failed_unmount(account, record, host)
        ):
            retains = True
        elif isinstance(record, FencedHost) and record.host == host:
            retains = False
        elif isinstance(record, Settled | Over):
            break
    return retains
