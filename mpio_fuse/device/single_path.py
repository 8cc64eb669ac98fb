"""Owning a logical unit without persistent reservations: SCSI-2 RESERVE(6), over one underpath.

Theory of operation
-------------------
A SCSI-2 reservation belongs to one nexus, cannot be read, and is gone after any reset, also one that nobody tells of:

* One underpath, the *carrier*, carries everything.  ``registered`` of an underpath says here that it is the carrier and
  may be used; there is no failover: another nexus would need the reservation that the carrier has.
* That the reservation is still ours is known only as long as nothing happened to the carrier.  A conflict, a reset that
  a unit attention tells of, or a failure of transport may mean that another host has owned the disk meanwhile, and
  reserving again could not tell.  Each of them fences the grant; a new open starts afresh.
* A lost write has no barrier.  It is over when the carrier's transport has given it back; nothing is written before.
* Forced open resets the logical unit, never the target: that would hit the other logical units' users.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
import trio

from mpio_fuse.device.bounds import RESET_TIMEOUT_S
from mpio_fuse.device.control import issue
from mpio_fuse.device.gate import Gate
from mpio_fuse.device.grant import Grant
from mpio_fuse.device.kept_out import KeptOut
from mpio_fuse.device.retention import Retention
from mpio_fuse.device.runner import run
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.snapshot import ReservationSnapshot, SinglePathSnapshot
from mpio_fuse.device.underpath import Suspicion, Underpath, UnderpathState, failures_of
from mpio_fuse.errors import MpioError, NoUsableUnderpath, OpenRefused, TransportError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.reserve.procedure import ERRNOS, Act, Box, End, Outcome
from mpio_fuse.reserve.single_path import decide_single
from mpio_fuse.reserve.situation import Situation, UnderpathFact
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.reserve6 import release6, reserve6
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.scsi.verdict import Verdict, describe, is_answer_lost

log = structlog.get_logger(__name__)

IDLE_POLL_S = 0.05
ATTEMPTS = 3
"""How often RESERVE and RELEASE are sent while their answers are lost: from the same nexus both may be repeated."""

TYPE = "SCSI-2 RESERVE(6), single path"


class SinglePath:
    """See `mpio_fuse.device.ownership.Ownership`; the arguments are those of `PersistentOwnership`."""

    def __init__(
        self,
        lun: str,
        same_disk: SameDisk,
        underpaths: Sequence[Underpath],
        settings: Settings,
        gate: Gate,
        on_fenced: Callable[[], None],
        clock: Callable[[], float],
        check_doubtful: Callable[[float], Awaitable[None]],  # noqa: ARG002 - there is one underpath
    ) -> None:
        self._lun = lun
        self._same_disk = same_disk
        self._underpaths = underpaths
        self._settings = settings
        self._gate = gate
        self._on_fenced = on_fenced
        self._clock = clock
        self._grant: Grant | None = None
        self._carrier: Underpath | None = None
        self._holds = False
        self._owes_release = False
        self._retention: Retention | None = None
        self._looking = trio.Lock()
        self._kept_out = KeptOut(lun, same_disk, settings.control_timeout_s, self.note_attention)
        self._log = log.bind(lun=lun)

    @property
    def grant(self) -> Grant | None:
        return self._grant

    @property
    def recovery(self) -> "SinglePath":
        return self

    # -- for people

    def reservation(self) -> ReservationSnapshot:
        """Another host's cannot be read, so it is ours or unknown."""
        carrier = self._carrier.name if self._carrier else None
        return ReservationSnapshot(
            "ours" if self._holds else "unknown",
            type=TYPE,
            single_path=SinglePathSnapshot(carrier, self._kept_out.others),
        )

    def retention(self) -> Retention | None:
        return self._retention if self._holds else None

    def is_holder(self, underpath: Underpath) -> bool:
        return self._holds and underpath is self._carrier

    async def situation(self, opens: tuple[OpenOption, ...]) -> Situation:
        return Situation(
            lun=self._lun,
            key=self._settings.key,
            underpaths=tuple(
                UnderpathFact(one.name, one.last_failure, is_registered=one.registered)
                for one in self._underpaths
                if one.state is not UnderpathState.REMOVED
            ),
            reservation=None,
            holder_name=self._carrier.name if self._carrier and self._holds else None,
            opens=opens,
            is_reserving=self._grant is not None and self._grant.is_reserving,
            has_persistent_reserve=False,
        )

    # -- coming and going

    async def configure(self) -> None:
        """Choose the carrier: the first underpath that answers."""
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._choose_carrier()
        self._log.info("single path: the array has no persistent reservations")

    async def stand_by(self) -> None:
        """A host that holds nothing has nothing at the array."""

    async def withdraw(self) -> str:
        async with self._gate.closed(self._settings.control_timeout_s):
            if self.retention() is not None:
                self._log.info("reservation retained")
                return ""
            await self._release_owed()
        return "the reservation could not be released" if self._owes_release else ""

    async def readmit(self, underpath: Underpath) -> bool:
        carrier = self._carrier
        if carrier is not None and carrier is not underpath and (carrier.is_usable or self._holds):
            return False
        async with self._gate.closed(self._settings.control_timeout_s):
            grant = self._grant
            if underpath is self._carrier and grant is not None and grant.is_reserving:
                # Whatever failed it may have freed the reservation, and let another host in and out.
                self._fence(grant, f"{underpath.name} failed in between")
            if not await self._answers(underpath):
                return False
            self._carry_over(underpath)
            return True

    # -- open and close

    async def open(self, options: OpenOption) -> Grant:
        async with self._gate.closed(self._settings.control_timeout_s):
            await self._settle_suspicion()
            if self._grant is None or not self._grant.is_reserving:
                await self._run_for(options)
            elif not (await self._reserve()):
                self._fence(self._grant, "another host has reserved it")
                raise self._refusal(End.EIO, options)
            self._fence_if_told()
            if self._carrier is not None:
                self._carrier.suspicion = None  # what was told came before the last answer
            grant = self._grant or Grant(self._lun)
            if OpenOption.NO_RESERVE not in options:
                grant.is_reserving = True
            if self._grant is None:
                self._retention = None
            self._grant = grant
            self._owes_release = False
            if OpenOption.RETAIN_RESERVATION in options and self._retention is None:
                self._retention = Retention(self._clock())
            return grant

    async def _run_for(self, options: OpenOption) -> None:
        try:
            await self._choose_carrier()
        except NoUsableUnderpath as error:
            raise OpenRefused(error.what, ERRNOS[End.EIO], lun=self._lun, hint=error.hint) from None
        end = await run(self._lun, decide_single(options)(), self._act)
        if end not in (End.OPENED, End.OPENED_RETAINED):
            raise self._refusal(end, options)

    async def _act(self, here: Box) -> Outcome:
        match here.act:
            case Act.RESET:
                is_good = await self._reset()
            case Act.RESERVE_6:
                is_good = await self._reserve()
            case Act.RELEASE_6:
                is_good = await self._release()
            case Act.TEST_UNIT_READY:
                is_good = (await self._issue(test_unit_ready())).is_good
            case _:
                raise AssertionError(f"{here.act}: not of a single path")
        return Outcome.GOOD if is_good else Outcome.REFUSED

    def _refusal(self, end: End, options: OpenOption) -> OpenRefused:
        carrier = self._carrier
        said = f" ({carrier.name}: {carrier.last_failure})" if carrier else ""
        return OpenRefused(
            f"open with {options} refused{said}",
            ERRNOS[end],
            lun=self._lun,
            hint="close it on the host that has it reserved, or take it over with a forced open",
        )

    async def give_up(self, grant: Grant) -> None:
        self._owes_release = grant.is_reserving and self._retention is None
        try:
            if self._carrier is not None and self._carrier.has_lost_write:
                try:
                    await self.bar(grant)
                except NoUsableUnderpath as error:
                    self._log.info("lost writes not settled", cause=str(error))
            async with self._gate.closed(self._settings.control_timeout_s):
                self._end(grant)
                await self._release_owed()
        finally:
            self._end(grant)

    def _end(self, grant: Grant) -> None:
        if self._grant is grant:
            self._grant = None
        grant.is_given_up = True

    async def _release_owed(self) -> None:
        if not self._owes_release:
            return
        carrier = self._carrier
        if carrier is not None and (not carrier.is_idle or carrier.has_lost_write):
            self._log.warning("release postponed", cause="old writes are still out")
            return
        self._owes_release = not await self._release()

    async def release_retained(self) -> None:
        async with self._gate.closed(self._settings.control_timeout_s):
            if not self._holds:
                # After a restart nobody remembers whether it is ours; RELEASE frees nobody else's.
                await self._choose_carrier()
            self._owes_release = True
            await self._release_owed()
            if self._owes_release:
                raise self._refusal(End.EIO, OpenOption.DEFAULT)
            self._retention = None
            if (await self._issue(test_unit_ready())).status == Status.RESERVATION_CONFLICT:
                what = "this host holds no reservation to release: another host has reserved it"
                raise MpioError(what, lun=self._lun)

    # -- what the data path calls

    async def retire(self, underpath: Underpath) -> None:
        """The carrier cannot go while it holds: nobody else could take over."""
        if underpath is self._carrier and (self._grant is not None or self._holds):
            what, hint = (
                "the only underpath that can be used: a single path",
                "close what has it open",
            )
            raise MpioError(what, lun=self._lun, underpath=underpath.name, hint=hint)

    async def is_recognised(self, underpaths: Sequence[Underpath]) -> bool:  # noqa: ARG002
        """Nobody can tell: SCSI-2 reservations cannot be read, and RESERVE is GOOD on a disk that is free."""
        return False

    async def look(self) -> None:
        """Ask the carrier, whose unit attentions tell of resets; a release that is owed is done here."""
        grant = self._grant
        if grant is None:
            async with self._gate.closed(self._settings.control_timeout_s):
                await self._release_owed()
            return
        carrier = self._carrier
        if await self._still_holds(grant) and carrier is not None:
            await self._kept_out.look(carrier, self._underpaths, partial(self._still_holds, grant))

    async def look_into(self, grant: Grant) -> None:
        """See `mpio_fuse.device.data_path.Recovery`."""
        async with self._looking, self._gate.steady():
            grant.check()
            await self._settle_suspicion()
            grant.check()

    async def bar(self, grant: Grant) -> None:
        """Wait, within a bound, until the transport has given every command back."""
        async with self._gate.closed(self._settings.control_timeout_s):
            grant.check()
            carrier = self._carrier
            if carrier is None:
                return
            with trio.move_on_after(self._settings.control_timeout_s):
                while not carrier.is_idle:  # noqa: ASYNC110 - transports tell nobody of it
                    await trio.sleep(IDLE_POLL_S)
            if not carrier.is_idle:
                raise NoUsableUnderpath(
                    "an old write is still out, and a single path has nobody to stop it",
                    lun=self._lun,
                    underpath=carrier.name,
                    hint="nothing is written before it is over; see 'mpio-fuse status'",
                )
            carrier.epoch += 1
            carrier.has_lost_write = False

    def note_attention(self, underpath: Underpath, verdict: Verdict, what: str) -> None:
        """See `mpio_fuse.device.ownership.Ownership`."""
        self._log.info("unit attention", underpath=underpath.name, sense=what)
        if verdict is Verdict.DEFERRED_ERROR:
            if self._grant is not None:
                self._grant.lost_writes += 1
        elif verdict is not Verdict.RETRY_HERE:
            underpath.suspicion = Suspicion(verdict)

    async def _settle_suspicion(self) -> None:
        """Decide on what the carrier was told; the suspicion is gone afterwards, or the grant is."""
        carrier, grant = self._carrier, self._grant
        suspicion = carrier.suspicion if carrier else None
        if carrier is None or suspicion is None:
            return
        if suspicion.verdict is Verdict.RECHECK_IDENTITY:
            if grant is not None and grant.is_reserving:
                self._fence(grant, "a reset, which frees the reservation, or another disk")
            await self._same_disk.check(carrier)
        elif suspicion.verdict is Verdict.REEXAMINE and grant is not None and grant.is_reserving:
            self._fence(grant, "a reservation conflict: another host has reserved it")
        elif grant is not None and (not suspicion.is_doubt or await self._same_disk.check(carrier)):
            await self._ask_for(grant)
        if carrier.suspicion is suspicion:
            carrier.suspicion = None

    async def _still_holds(self, grant: Grant) -> bool:
        """Whether it is reserved for the grant, asked now."""
        async with self._looking:
            await self._ask_for(grant)
        return self._holds and grant.is_reserving and not grant.is_fenced

    async def _ask_for(self, grant: Grant) -> None:
        """TEST UNIT READY: it conflicts under another host's reservation, and tells of a reset."""
        completion = await self._issue(test_unit_ready())
        if completion.status == Status.RESERVATION_CONFLICT:
            self._fence(grant, "another host has reserved it")
        self._fence_if_told()

    def _fence_if_told(self) -> None:
        """After commands of our own, which meet what attentions wait."""
        carrier, grant = self._carrier, self._grant
        if carrier is None or carrier.suspicion is None or grant is None or not grant.is_reserving:
            return
        if carrier.suspicion.verdict is Verdict.RECHECK_IDENTITY:
            self._fence(grant, "a reset, which frees the reservation, or another disk")

    def _fence(self, grant: Grant, cause: str) -> None:
        """End a grant.  Synchronous: from here on none of its commands leaves."""
        if grant.is_fenced:
            return
        grant.is_fenced = True
        if self._grant is grant:
            self._grant = None
            self._retention = None
            self._holds = False
        self._log.warning("fenced", reservation="unknown", cause=cause)
        self._on_fenced()

    # -- one underpath

    async def _choose_carrier(self) -> None:
        """The carrier if it answers, else the first that does.

        Raises:
            NoUsableUnderpath: none answers.
        """
        first = self._carrier
        for underpath in sorted(self._underpaths, key=lambda one: one is not first):
            if await self._answers(underpath):
                self._carry_over(underpath)
                return
        raise NoUsableUnderpath(
            f"no underpath answers ({failures_of(self._underpaths)})",
            lun=self._lun,
            hint="check the cabling, the sessions and the target",
        )

    def _carry_over(self, chosen: Underpath) -> None:
        if chosen is not self._carrier:
            self._holds = False
        self._carrier = chosen
        for underpath in self._underpaths:
            underpath.registered = underpath is chosen

    async def _answers(self, underpath: Underpath) -> bool:
        """Whether our disk is there and no old command is; a reservation conflict is an answer."""
        if underpath.state is UnderpathState.REMOVED or not underpath.is_idle:
            return False
        if underpath.health.is_held_out:
            return False
        if not await self._same_disk.check(underpath):
            return False
        underpath.suspicion = None
        completion = await self._issue(test_unit_ready(), underpath)
        if not completion.is_good and completion.status != Status.RESERVATION_CONFLICT:
            return False
        underpath.suspicion = None  # told before anything of this open was sent
        underpath.admitted()
        return True

    async def _reserve(self) -> bool:
        completion = await self._issue_for_certain(reserve6)
        self._holds = completion.is_good
        return completion.is_good

    async def _release(self) -> bool:
        completion = await self._issue_for_certain(release6)
        if completion.is_good:
            self._holds = False
        return completion.is_good

    async def _reset(self) -> bool:
        """LOGICAL UNIT RESET; the attention that it leaves here is met at once, and is no news."""
        carrier = self._carrier
        if carrier is None:
            return False
        try:
            with trio.fail_after(RESET_TIMEOUT_S):
                await carrier.transport.reset_logical_unit()
        except TransportError as error:
            carrier.last_failure = f"LOGICAL UNIT RESET: {error.what}"
            return False
        except trio.TooSlowError:
            carrier.last_failure = "LOGICAL UNIT RESET: not confirmed in time"
            return False
        self._log.info("logical unit reset", underpath=carrier.name)
        await self._issue(test_unit_ready())
        carrier.suspicion = None
        return True

    async def _issue_for_certain(self, make: Callable[[], Command]) -> Completion:
        completion = await self._issue(make())
        for _ in range(ATTEMPTS - 1):
            if is_answer_lost(completion):
                completion = await self._issue(make())
        return completion

    async def _issue(self, command: Command, underpath: Underpath | None = None) -> Completion:
        underpath = underpath or self._carrier
        if underpath is None:
            raise NoUsableUnderpath("no underpath carries it", lun=self._lun)
        completion = await issue(
            underpath, command, self._settings.control_timeout_s, self.note_attention
        )
        if not completion.is_good:
            underpath.last_failure = f"{command.name}: {describe(completion)}"
        return completion
