"""One underpath: a nexus to the logical unit, its transport, and what we know of it."""

from collections.abc import Callable, Iterable

import attrs
import trio

from mpio_fuse.device.condition.rules import HealthRules
from mpio_fuse.device.condition.state import IN_SERVICE, Change, Service, UnderpathState
from mpio_fuse.device.condition.underpath_health import UnderpathHealth
from mpio_fuse.device.reaction import Look
from mpio_fuse.device.selection.access import Access, access_text, preference
from mpio_fuse.device.selection.throughput import Throughput
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.transport.contract import StartingTransport, Transport

__all__ = ["Counters", "Suspicion", "Underpath", "UnderpathState"]


@attrs.define
class Counters:
    """What has gone over one underpath since it was made."""

    reads: int = 0
    writes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    failures: int = 0

    def count(self, command: Command) -> None:
        """A data command was done."""
        if command.data_in is not None:
            self.reads += 1
            self.bytes_read += len(command.data_in)
        elif command.data_out:
            self.writes += 1
            self.bytes_written += len(command.data_out)


_OF_IDENTITY = frozenset((Verdict.RECHECK_IDENTITY, Verdict.UNKNOWN, Verdict.RETRY_ELSEWHERE))


@attrs.define(eq=False)
class Suspicion:
    """What a completion said that somebody must look into.  Each is one of its own: a second is not the first.

    ``is_doubt``: another disk may be there.  It said so, or what it said nobody has understood or heard; and the
    identity was not asked since.
    """

    verdict: Verdict
    is_doubt: bool = attrs.field()

    @is_doubt.default
    def _is_of_identity(self) -> bool:
        return self.is_of_identity

    @property
    def is_of_identity(self) -> bool:
        """Whether it is about who is there, in the first place."""
        return self.verdict in _OF_IDENTITY


def tell_nobody(_underpath: "Underpath", _news: object) -> None:
    """For underpaths that no device has."""


def _new_health() -> UnderpathHealth:
    return UnderpathHealth(HealthRules(), 0.0)


@attrs.define(eq=False)
class Underpath:
    """One underpath's state.  Changed by the registrar, the data path, checks and what recovers, synchronously.

    ``index`` is its place in the device: what the patent's ``reserved`` field holds.  ``epoch`` rises whenever
    every command sent here before is known to be dead at the array.  ``has_lost_write``: of a write of this epoch
    nobody knows whether it is over, so nothing may be written anywhere before a barrier.  ``suspicion``: what a
    completion told that somebody must look into before data goes here again.  ``has_another_size``: than the device, so
    that it may be another disk, and is not registered.  ``is_being_admitted``: it is being registered while I/O goes on
    over others, and carries nothing before the looks that come after.  ``access``: what the array says of its target
    port (ALUA).

    Its state is its health's, and changes only by what `admitted` and the methods after it say.  ``on_change`` is told
    of each change, ``on_look`` of what a completion said that must be found out but keeps no data waiting.
    """

    index: int
    transport: Transport
    health: UnderpathHealth = attrs.Factory(_new_health)
    on_change: Callable[["Underpath", Change], None] = tell_nobody
    on_look: Callable[["Underpath", Look], None] = tell_nobody
    registered: bool = False
    is_being_admitted: bool = False
    in_flight: int = 0
    in_flight_bytes: int = 0
    epoch: int = 0
    has_lost_write: bool = False
    suspicion: Suspicion | None = None
    has_another_size: bool = False
    access: Access | None = None
    last_failure: str = ""
    counters: Counters = attrs.Factory(Counters)
    throughput: Throughput = attrs.Factory(Throughput)
    starting: StartingTransport | None = attrs.field(init=False)
    """The transport, if it can `start` commands."""

    @starting.default
    def _starting(self) -> StartingTransport | None:
        return self.transport if isinstance(self.transport, StartingTransport) else None

    @property
    def name(self) -> str:
        """The device node or URL, as the user named it."""
        return self.transport.name

    @property
    def state(self) -> UnderpathState:
        """As multipath names it."""
        return self.health.state

    @property
    def is_idle(self) -> bool:
        """Whether the transport has given every command back."""
        return not self.in_flight and not self.transport.stranded

    @property
    def is_worth_asking(self) -> bool:
        """False for one that is gone, and for one that failed and has not given back its commands: it hangs."""
        return self.is_in_service or (self.state is not UnderpathState.REMOVED and self.is_idle)

    @property
    def is_in_service(self) -> bool:
        """Whether commands get through, as far as is known; it may be held down, and carry data only at need."""
        return self.health.state in IN_SERVICE

    @property
    def needs_look(self) -> bool:
        """Whether something was told here that must be looked into before data go anywhere.

        Who is out of service is asked for its identity before it comes back.
        """
        told = self.suspicion
        return told is not None and (self.is_in_service or not told.is_of_identity)

    @property
    def is_doubtful(self) -> bool:
        """Whether another disk may be there, so that nothing is to be sent here or believed."""
        return self.suspicion is not None and self.suspicion.is_doubt

    @property
    def is_usable(self) -> bool:
        """Whether data commands may be sent here: never before the registration is known good."""
        return (
            self.registered
            and self.suspicion is None
            and self.health.state in IN_SERVICE
            and not self.is_being_admitted
        )

    @property
    def may_carry(self) -> bool:
        """Whether its target port serves data, as far as the array has said."""
        return preference(self.access) is not None

    def lost_answer(self) -> None:
        """Nobody saw an answer: it may have been the only notice of another disk, of a reset, of a preemption."""
        told = self.suspicion
        verdict = Verdict.UNKNOWN if told is None or told.is_of_identity else told.verdict
        self.suspicion = Suspicion(verdict, is_doubt=True)

    # -- commands under way

    def departs(self, length_bytes: int, now_s: float) -> None:
        """A data command is being sent here."""
        self.in_flight += 1
        self.in_flight_bytes += length_bytes
        self.throughput.started(now_s)

    def returns(self, length_bytes: int, carried_bytes: int, now_s: float) -> None:
        """It is back, or given up; ``carried_bytes`` of its data have been transferred."""
        self.in_flight -= 1
        self.in_flight_bytes -= length_bytes
        self.throughput.finished(carried_bytes, now_s)

    # -- what selection asks

    def service(self, now_s: float) -> Service:
        """How far it is in service now."""
        return self.health.service(now_s)

    def bytes_per_s(self, now_s: float) -> float | None:
        """How much data it has carried lately in the time it was busy."""
        return self.throughput.bytes_per_s(now_s)

    # -- what happens to it

    def admitted(self) -> None:
        """It is registered, and the logical unit is ours to use."""
        self.last_failure = ""
        if self.may_carry:
            self.note(self.health.admitted(trio.current_time()))
        else:
            self.stands_by(f"its target port is {access_text(self.access)}")

    def failed(self, cause: str, incarnation: int | None = None) -> None:
        """A command that was sent in that incarnation, this one unless told, failed for the underpath's sake."""
        self.last_failure = cause
        self.counters.failures += 1
        if incarnation is None:
            incarnation = self.health.incarnation
        self.note(self.health.io_failed(incarnation, trio.current_time(), cause))

    def refused(self, cause: str) -> None:
        """It could not be registered, or may not be used: no fault of the link."""
        self.registered = False
        self.last_failure = cause
        self.note(self.health.refused(trio.current_time(), cause))

    def removed(self, cause: str) -> None:
        """Its node is gone, or leads elsewhere: for good."""
        self.registered = False
        self.last_failure = cause
        self.note(self.health.removed(trio.current_time(), cause))

    def stands_by(self, cause: str, incarnation: int | None = None) -> None:
        """Its port serves no data now."""
        if incarnation is None:
            incarnation = self.health.incarnation
        self.note(self.health.io_standby(incarnation, trio.current_time(), cause))

    def note(self, change: Change | None) -> None:
        """Tell of a change of health, if it is one."""
        if change is not None:
            self.on_change(self, change)

    def want(self, look: Look) -> None:
        """Have something found out, soon."""
        if look is not Look.NOTHING:
            self.on_look(self, look)


def failures_of(underpaths: Iterable[Underpath]) -> str:
    """What each of them said last, for one line of an error."""
    return "; ".join(f"{one.name}: {one.last_failure}" for one in underpaths if one.last_failure)
