"""Speaks PERSISTENT RESERVE for one device: registrations and the reservation, over all its underpaths.

Theory of operation
-------------------
The array is the truth and this host's fields are a memory of it.  ``registered`` of an underpath is set only after the
array said GOOD and cleared before anything that may undo it is sent.  ``reserved`` is the patent's field: the
underpath whose nexus holds our reservation, or None.

What the array does that a reader would not expect:

* RELEASE by a registrant that does not hold the reservation is GOOD and does nothing.  So a release is believed only
  once the reservation has been read back.
* An answer to PERSISTENT RESERVE OUT that was lost says nothing.  The state is read before anything is repeated:
  a second PREEMPT would conflict because the first one worked.
* PREEMPT of our own key keeps the sender's registration and removes those of our other nexuses.  So they are
  registered again after it, and meanwhile no data command may be under way (`mpio_fuse.device.gate`).
* An underpath that still has a command under way or stranded is never registered: the new registration would let
  the old command in.
* Some arrays have no PREEMPT AND ABORT, and of one whose answer was lost nobody knows what it aborted.  Then PREEMPT
  alone takes the reservation, and ``owes_abort`` stands until a LOGICAL UNIT RESET was confirmed: till then the
  victim's commands may still reach the medium.
* While a grant stands nothing is registered with Ignore Existing Key where our registration should still be: REGISTER
  naming it conflicts once another host has preempted us, however short ago.

Nothing here closes the gate: callers do, and run one operation at a time.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import attrs
import structlog
import trio

from mpio_fuse.device.bounds import PREEMPT_TIMEOUT_S, RESET_TIMEOUT_S
from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.first_answer import PATIENCE_S, first_answer
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.shared_key import users_of
from mpio_fuse.device.side_by_side import side_by_side
from mpio_fuse.device.speakers import Speakers
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import DecodeError, NoUsableUnderpath, TransportError
from mpio_fuse.reserve.procedure import Outcome
from mpio_fuse.scsi import pr_in, pr_out
from mpio_fuse.scsi.command import Command, Completion, Status, received
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.scsi.verdict import Verdict, describe, is_answer_lost, judge, sense_of

log = structlog.get_logger(__name__)

NOT_READY_THOUGH_DONE = (SenseKey.NOT_READY, 0x08, 0x00)

_NOT_THERE = {Verdict.NOT_SUPPORTED, Verdict.INVALID}

TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


@attrs.frozen
class ReserveState:
    """What the array says of registrations and reservation, read with two commands on one underpath."""

    keys: tuple[ReservationKey, ...]
    reservation: pr_in.Reservation

    def is_held_by(self, key: ReservationKey) -> bool:
        """Whether the reservation is this key's and of the one type that we make."""
        return self.reservation.holder == key and self.reservation.type is TYPE


class Registrar:
    """Registrations and reservation of one device.  One operation at a time."""

    def __init__(
        self,
        lun: str,
        underpaths: Sequence[Underpath],
        settings: Settings,
        on_attention: OnAttention,
        same_disk: SameDisk,
        check_doubtful: Callable[[float], Awaitable[None]],
    ) -> None:
        self.lun = lun
        self.underpaths = underpaths
        self.key = settings.key
        self.reserved: Underpath | None = None
        self.last_state: ReserveState | None = None
        """What the array said last: for people who ask; decisions read anew."""
        self.is_outdated = False
        """Whether ``last_state`` is from before a command that changes the reservation."""
        self.timeout_s = settings.control_timeout_s
        self.owes_abort = False
        """Whether commands of somebody we preempted may still reach the medium."""
        self.lacks_abort = False
        """Whether the array has refused PREEMPT AND ABORT as a command it does not have."""
        self.is_per_initiator = False
        """Whether a registration is the host's, not the nexus's: preempting our own key bars none of our nexuses."""
        self._aptpl = settings.aptpl
        self._is_serial = settings.serialise_registers
        self._on_attention = on_attention
        self._same_disk = same_disk
        self._check_doubtful = check_doubtful
        self._log = log.bind(lun=lun)

    # -- registrations

    async def register(self, underpath: Underpath, *, ignore_existing: bool) -> bool:
        """Register one underpath; whether the array said that it is.  Records nothing but the truth."""
        if underpath.state is UnderpathState.REMOVED or underpath.has_another_size:
            return False
        if underpath.health.is_held_out:
            return False
        if underpath.in_flight or underpath.transport.stranded:
            underpath.refused("an old command is still under way here; not registered")
            return False
        command = (
            pr_out.register_and_ignore_existing_key(self.key, aptpl=self._aptpl)
            if ignore_existing
            else pr_out.register(ZERO_KEY, self.key, aptpl=self._aptpl)
        )
        underpath.registered = False
        completion = await self._issue(underpath, command)
        if completion.is_good or await self._is_made_all_the_same(underpath, completion):
            underpath.registered = True
            underpath.admitted()
        else:
            self._fail(underpath, command.name, completion)
        return underpath.registered

    async def _is_made_all_the_same(self, underpath: Underpath, completion: Completion) -> bool:
        """LIO without its metadata directory says NOT READY to every REGISTER, and has registered.

        REGISTER that names the key tells: it conflicts where there is no registration.
        """
        if not _is_not_ready(completion):
            return False
        again = await self._issue(underpath, pr_out.register(self.key, self.key, aptpl=self._aptpl))
        is_made = again.is_good or _is_not_ready(again)
        if is_made:
            self._log.info(
                "registered, though the array says it is not ready", underpath=underpath.name
            )
        return is_made

    async def confirm(self, underpath: Underpath) -> bool:
        """Whether our registration is still there: REGISTER that names it, and changes it to itself.

        What this proves for one underpath holds for all: a preempt removes every registration of our key.
        """
        underpath.registered = False
        completion = await self._issue(
            underpath, pr_out.register(self.key, self.key, aptpl=self._aptpl)
        )
        underpath.registered = completion.is_good or _is_not_ready(completion)
        if is_answer_lost(completion):
            self._fail(underpath, "REGISTER", completion)
        return underpath.registered

    async def register_all(self) -> Outcome:
        """Register every underpath with Register And Ignore Existing Key; one retry, then it is skipped."""

        async def twice(underpath: Underpath) -> bool:
            return await self.register(underpath, ignore_existing=True) or await self.register(
                underpath, ignore_existing=True
            )

        await self.each(self.underpaths, twice)
        return Outcome.SOME if any(self._registered()) else Outcome.NOBODY

    async def confirm_all(self) -> Outcome:
        """As `register_all` while a grant stands: what is registered and in service is confirmed, and no more.

        I/O waits meanwhile, so it does not wait for an underpath that hangs.
        """
        in_service = [one for one in self._registered() if one.is_in_service]
        return Outcome.SOME if await self.each(in_service, self.confirm) else Outcome.NOBODY

    async def each(
        self, underpaths: Iterable[Underpath], do: Callable[[Underpath], Awaitable[bool]]
    ) -> list[Underpath]:
        """Side by side, or one after the other for arrays that stall on registrations side by side."""
        return await side_by_side(underpaths, do, is_serial=self._is_serial)

    async def unregister(self, underpath: Underpath) -> bool:
        """Take one underpath's registration back; whether the array agrees.  It counts as unregistered anyway."""
        underpath.registered = False
        completion = await self._issue(underpath, pr_out.register(self.key, ZERO_KEY))
        is_gone = completion.status == Status.RESERVATION_CONFLICT or _is_not_ready(completion)
        if not completion.is_good and not is_gone:
            self._log.warning(
                "unregister failed", underpath=underpath.name, answer=describe(completion)
            )
        return completion.is_good or is_gone

    async def forget(self, underpath: Underpath) -> None:
        """Leave no registration on an underpath, under whatever key it is."""
        underpath.registered = False
        command = pr_out.register_and_ignore_existing_key(ZERO_KEY)
        completion = await self._issue(underpath, command)
        self._log.debug("forgotten", underpath=underpath.name, answer=describe(completion))

    async def unregister_all(self, *, is_key_ours_alone: bool = True) -> None:
        """Take back all registrations, the holder's last: with it would go a reservation of type 6.

        Those of underpaths that cannot speak any more are preempted by the last one that can, unless
        the key is known to be another host's as well.
        """
        speaking = [one for one in self._registered() if one.is_in_service]
        speaking = speaking or list(self._registered())
        speaking.sort(key=lambda one: one is self.reserved)
        silent = len(self.underpaths) - len(speaking)
        await self.each(speaking[:-1], self.unregister)
        for last in speaking[-1:]:
            if is_key_ours_alone:
                await self._preempt_leftovers(last, silent)
            if last.registered:
                await self.unregister(last)
        self.reserved = None

    async def _preempt_leftovers(self, last: Underpath, silent: int) -> None:
        """Remove registrations of our key that no underpath of ours can take back.

        Only as many as our ``silent`` underpaths can have left, or where the array shows that all are this host's: a
        session that was logged out and in leaves the registration of its old nexus.
        """
        try:
            state = await self.read_state()
            others = state.keys.count(self.key) - 1
            if 0 < others <= silent or (others > 0 and await self._is_key_ours_alone(last)):
                await self._issue(last, pr_out.preempt(self.key, self.key, TYPE))
                state = await self.read_state()
                # Without a holder some targets remove the sender's own registration too.
                last.registered = self.key in state.keys
        except NoUsableUnderpath as error:
            self._log.info("leftovers unknown", cause=str(error))

    async def unregister_uncounted(self) -> None:
        """Take back what nobody counts: a registration whose answer was lost.

        First over each nexus its own.  What is left then is of underpaths that cannot speak, or another host's.
        """
        asked = [one for one in self.underpaths if one.is_worth_asking]
        gone = await self.each(asked, self.unregister)
        try:
            if self.key not in (await self.read_state()).keys:
                return
        except NoUsableUnderpath:
            return
        for speaker in gone[:1]:
            if await self.register(speaker, ignore_existing=True):
                await self._preempt_leftovers(speaker, len(self.underpaths) - len(gone))
                await self.unregister(speaker)

    async def _is_key_ours_alone(self, underpath: Underpath) -> bool:
        names = await users_of(self.key, underpath, self.timeout_s, self._on_attention)
        return names is not None and len(names) == 1

    def note_scheme(self, state: ReserveState) -> None:
        """See whether registrations are per nexus, with all that could be registered just registered."""
        registered = sum(1 for _ in self._registered())
        self.is_per_initiator = state.keys.count(self.key) < registered
        if self.is_per_initiator:
            self._log.info("the array registers per initiator, not per nexus")

    # -- the reservation

    async def read_state(self) -> ReserveState:
        """Keys and reservation, from the first underpath that answers, within the time of the two commands.

        Raises:
            NoUsableUnderpath: none answers.
        """
        state = None
        patience_s = min(PATIENCE_S, self.timeout_s / 4)
        with trio.move_on_after(2 * self.timeout_s):
            state = await first_answer(self._by_health(), self._read_state_on, patience_s)
        if state is not None:
            self.last_state = state
            self.is_outdated = False
            return state
        raise NoUsableUnderpath(
            "no underpath answers PERSISTENT RESERVE IN",
            lun=self.lun,
            hint="see 'mpio-fuse status' for what each of them says",
        )

    async def reserve(self) -> Outcome:
        """Reserve on a registered underpath; on the next one where transport failed."""
        speakers = self._speakers()
        while (underpath := await speakers.following()) is not None:
            command = pr_out.reserve(self.key, TYPE)
            self.is_outdated = True
            completion = await self._issue(underpath, command)
            self._log.debug("reserve", underpath=underpath.name, answer=describe(completion))
            if not completion.is_good and not is_answer_lost(completion):
                return Outcome.REFUSED
            if not completion.is_good:
                self._fail(underpath, command.name, completion)
            state = await self.read_state()
            if state.is_held_by(self.key):
                self.reserved = underpath
                return Outcome.GOOD
            if completion.is_good or state.reservation.is_held:
                return Outcome.REFUSED
        return Outcome.REFUSED

    async def preempt_and_abort(
        self, victim: ReservationKey, *, may_register: bool = True
    ) -> Outcome:
        """Take the reservation from ``victim``, whose registrations go with it.  See ``owes_abort`` for its tasks.

        ``may_register``: no grant stands, so that a registration may be made anew where it is not honoured.
        """
        speakers = self._speakers()
        while (underpath := await speakers.following()) is not None:
            if await self._preempt_on(underpath, victim):
                return Outcome.GOOD
            state = await self.read_state()
            if not state.reservation.is_held:
                return await self.reserve()  # the victim has released it meanwhile
            if state.reservation.holder != victim:
                return Outcome.REFUSED
            if not may_register or not await self._register_anew(underpath):
                continue
            if await self._preempt_on(underpath, victim):
                return Outcome.GOOD
        return Outcome.REFUSED

    async def _register_anew(self, underpath: Underpath) -> bool:
        """Undo a registration that the array lists and does not honour, and make it again; whether it is made.

        LIO: when a session comes back with another ISID, the first of its port's registrations to go makes the port
        count as unregistered, and only a new registration ends that.  For when another host holds the reservation:
        ours would go with its holder's registration.
        """
        if not underpath.registered:  # it failed for reasons of its own
            return False
        await self.unregister(underpath)
        return await self.register(underpath, ignore_existing=True)

    async def release(self) -> Outcome:
        """Release our reservation and see that it is gone.

        The nexus that holds it must say so: the one that reserved comes first, then the others (after a
        restart of this host's daemon nobody remembers).  If none of them holds it, the holder is dead, and a
        live underpath takes the reservation over before it releases it.
        """
        state = await self.read_state()
        speakers = self._speakers()
        while (underpath := await speakers.following()) is not None:
            if not state.is_held_by(self.key):
                break
            command = pr_out.release(self.key, TYPE)
            completion = await self._issue(underpath, command)
            if is_answer_lost(completion):
                self._fail(underpath, command.name, completion)
                await self._end_lost_release()
            state = await self.read_state()
        else:
            state = await self._release_from_the_dead(state)
        if state.is_held_by(self.key):
            return Outcome.REFUSED
        self.reserved = None
        return Outcome.GOOD

    async def _end_lost_release(self) -> None:
        """A RELEASE without an answer may be done later, and then give up what the next open has reserved.

        Where registrations are the nexus's another nexus has to preempt the holder first, which ends it.  Where
        they are the initiator's the next RELEASE is done at once, and the first one must be ended before.
        """
        if self.is_per_initiator:
            await self.reset()

    async def move_to(self, underpath: Underpath) -> bool:
        """Preempt And Abort our own key from ``underpath``: it alone stays registered, and holds what we held.

        Every command that our other nexuses still have at the array is aborted, and what they send later
        conflicts.  The others are to be registered again by the caller, where that is safe.
        """
        for other in self.underpaths:
            if other is not underpath:
                other.registered = False
        underpath.registered = await self._preempt_on(underpath, self.key)
        return underpath.registered

    # -- below: one command, one underpath

    async def _release_from_the_dead(self, state: ReserveState) -> ReserveState:
        speakers = self._speakers()
        while state.is_held_by(self.key) and (underpath := await speakers.following()) is not None:
            if await self.move_to(underpath) or await self._register_and_move_to(underpath):
                self._log.info("reservation moved from a dead underpath", underpath=underpath.name)
                return await self._release_after_moving(underpath)
            state = await self.read_state()
        return state

    async def _register_and_move_to(self, underpath: Underpath) -> bool:
        """For a new session, that may have lost its registration unnoticed; and not once we have been preempted."""
        if not (await self.read_state()).is_held_by(self.key):
            return False
        if not await self.register(underpath, ignore_existing=True):
            return False
        if await self.move_to(underpath):
            return True
        if not (await self.read_state()).is_held_by(self.key):  # it happened in between
            await self.unregister(underpath)
        return False

    async def _release_after_moving(self, holder: Underpath) -> ReserveState:
        """Register the others again, and release; undone when another host has preempted us meanwhile."""
        await self.register_all()
        state = await self.read_state()
        if not state.is_held_by(self.key):
            for underpath in list(self._registered()):
                await self.unregister(underpath)
            return state
        await self._issue(holder, pr_out.release(self.key, TYPE))
        return await self.read_state()

    async def _preempt_on(self, underpath: Underpath, victim: ReservationKey) -> bool:
        """Whether the array shows the reservation as ours after the preempt; the answer alone proves nothing."""
        before = await self.read_state()
        did_owe, self.owes_abort = self.owes_abort, True  # also when cancelled: it may happen yet
        completion = await self._send_preempt(underpath, victim)
        is_lost = is_answer_lost(completion)
        if completion.is_good and not self.lacks_abort:
            self.owes_abort = did_owe
        if not completion.is_good and not is_lost:
            self.owes_abort = did_owe
            return False
        if is_lost and victim == self.key:
            # The reservation was ours before and is ours after: that tells nothing.
            return False
        after = await self.read_state()
        took = after.is_held_by(self.key) or (
            completion.is_good and not before.reservation.is_held and not after.reservation.is_held
        )
        if took:
            self.reserved = underpath if after.reservation.is_held else None
        return took

    async def _send_preempt(self, underpath: Underpath, victim: ReservationKey) -> Completion:
        """PREEMPT AND ABORT; PREEMPT where the array says that it does not have that."""
        self.is_outdated = True
        command = pr_out.preempt_and_abort(self.key, victim, TYPE)
        completion = await self._issue(underpath, command, PREEMPT_TIMEOUT_S)
        self.lacks_abort = judge(completion) in _NOT_THERE
        if self.lacks_abort:
            self._log.info(
                "no preempt and abort", underpath=underpath.name, answer=describe(completion)
            )
            command = pr_out.preempt(self.key, victim, TYPE)
            completion = await self._issue(underpath, command, PREEMPT_TIMEOUT_S)
        self._log.info(command.name.lower(), underpath=underpath.name, answer=describe(completion))
        if is_answer_lost(completion):
            self._fail(underpath, command.name, completion)
        return completion

    # -- the logical unit's commands, everybody's

    async def reset(self) -> bool:
        """Have the array drop every command that it has for the logical unit; whether it confirmed that.

        Every nexus gets a unit attention for it, ours too.
        """
        for underpath in self._by_health():
            if underpath.is_doubtful and not await self._same_disk.check(underpath):
                continue
            try:
                with trio.move_on_after(max(RESET_TIMEOUT_S, self.timeout_s)):
                    await underpath.transport.reset_logical_unit()
                    self._log.info("logical unit reset", underpath=underpath.name)
                    self.owes_abort = False
                    return True
                failure = "not confirmed in time"
            except TransportError as error:
                failure = error.what
            self._log.info("no reset", underpath=underpath.name, cause=failure)
        return False

    async def meet_attentions(self, underpath: Underpath) -> None:
        """Have the underpath tell what it has to tell: TEST UNIT READY."""
        await self._issue(underpath, test_unit_ready())

    async def _read_state_on(self, underpath: Underpath) -> ReserveState | None:
        """What the array says there; None when it says nothing, or the disk may have been another one meanwhile."""
        before = underpath.suspicion
        if underpath.is_doubtful and not await self._same_disk.check(underpath):
            return None
        state = await self._read_both_on(underpath)
        is_told = underpath.suspicion is not before
        if state is None:
            return None
        if is_told and underpath.is_doubtful and not await self._same_disk.check(underpath):
            return None
        return None if underpath.state is UnderpathState.REMOVED else state

    async def _read_both_on(self, underpath: Underpath) -> ReserveState | None:
        try:
            keys = await self._read_keys(underpath)
            if keys is None:
                return None
            command = pr_in.read_reservation()
            completion = await self._issue(underpath, command)
            if not completion.is_good:
                return None
            reservation = pr_in.decode_reservation(received(command, completion))
        except DecodeError as error:
            underpath.refused(error.what)
            return None
        return ReserveState(keys.keys, reservation)

    async def _read_keys(self, underpath: Underpath) -> pr_in.Keys | None:
        """All keys: asked again with room for what the target says it has, which is bounded."""
        length_bytes = 512
        for _ in range(3):
            command = pr_in.read_keys(length_bytes)
            completion = await self._issue(underpath, command)
            if not completion.is_good:
                return None
            keys = pr_in.decode_keys(received(command, completion))
            if not keys.is_truncated:
                return keys
            length_bytes = keys.length_bytes
        raise DecodeError(
            "READ KEYS grows whenever it is asked again", lun=self.lun, underpath=underpath.name
        )

    async def _issue(
        self, underpath: Underpath, command: Command, at_least_s: float = 0.0
    ) -> Completion:
        timeout_s = max(self.timeout_s, at_least_s)
        return await issue(underpath, command, timeout_s, self._on_attention, self._same_disk.check)

    def _registered(self) -> Iterator[Underpath]:
        return (one for one in self.underpaths if one.registered)

    def _speakers(self) -> Speakers:
        return Speakers(self._registered(), self.reserved, self._check_doubtful)

    def _by_health(self) -> list[Underpath]:
        """Those that can be asked, the most promising first; never one that hangs, or may be another disk."""
        return sorted(
            (one for one in self.underpaths if one.is_worth_asking and not one.has_another_size),
            key=lambda one: (
                not one.is_usable,
                one.transport.stranded > 0,
                not one.registered,
                one.index,
            ),
        )

    def _fail(self, underpath: Underpath, what: str, completion: Completion) -> None:
        """Not registered, as far as is known.  What the array refuses is no fault of the link."""
        underpath.registered = False
        cause = f"{what}: {describe(completion)}"
        if is_answer_lost(completion) or judge(completion).blames_underpath:
            underpath.failed(cause)
        else:
            underpath.refused(cause)


def _is_not_ready(completion: Completion) -> bool:
    sense = sense_of(completion)
    return sense is not None and sense.code == NOT_READY_THOUGH_DONE
