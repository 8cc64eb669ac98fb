"""Reads what an open would find, with PERSISTENT RESERVE IN alone."""

from collections.abc import Sequence
from functools import partial

import attrs
import trio

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.situation import Situation, UnderpathFact
from mpio_fuse.scsi import pr_in
from mpio_fuse.scsi.pr_in import Registrant
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.verdict import describe


async def read_situation(
    lun: str,
    key: ReservationKey,
    underpaths: Sequence[Underpath],
    timeout_s: float,
    on_attention: OnAttention,
) -> Situation:
    """The array's side of a situation; what this host has open is the caller's to add.  Never raises for silence."""
    there = [one for one in underpaths if one.state is not UnderpathState.REMOVED]
    failures: dict[Underpath, str] = {}
    async with trio.open_nursery() as nursery:
        for underpath in there:
            ask = partial(_failure_of, underpath, timeout_s, on_attention, failures)
            nursery.start_soon(ask)
    facts = tuple(_fact(one, failures[one]) for one in there)
    situation = Situation(lun=lun, key=key, underpaths=facts, reservation=None)
    answering = [one for one in there if not failures[one]]
    if not answering:
        return situation
    reader = ReserveReader(lun, answering, timeout_s, on_attention)
    keys, reservation = await reader.keys(), await reader.reservation()
    return attrs.evolve(
        situation,
        keys=keys.keys,
        reservation=reservation,
        registrants=await _registrants(reader),
    )


def _fact(underpath: Underpath, failure: str) -> UnderpathFact:
    is_busy = bool(underpath.in_flight or underpath.transport.stranded)
    return UnderpathFact(
        underpath.name, failure, is_busy, underpath.registered, underpath.has_lost_write
    )


async def _failure_of(
    underpath: Underpath, timeout_s: float, on_attention: OnAttention, into: dict[Underpath, str]
) -> None:
    completion = await issue(underpath, pr_in.read_reservation(), timeout_s, on_attention)
    into[underpath] = "" if completion.is_good else describe(completion)


async def _registrants(reader: ReserveReader) -> tuple[Registrant, ...] | None:
    """Whose the registrations are, where the target tells it of all of them."""
    try:
        full = await reader.full_status()
    except MpioError:
        return None
    return full.status.registrants if full.is_complete else None
