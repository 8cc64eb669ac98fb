"""What an open would do: the figure that would run it, walked with the outcomes that a situation predicts.

Theory of operation
-------------------
The figure is the same generator that an open runs, so the boxes cannot differ.  Instead of commands and their answers,
each box gets what the array *would* answer, as far as its state tells: a target that answers PERSISTENT RESERVE IN is
expected to take the commands that the standard lets it take.  What the state cannot tell is not predicted: another
host that acts in between, a target without PREEMPT AND ABORT, a refusal of the administrator's making.

The commands beside each box repeat what `mpio_fuse.device.registrar` sends for it, less the reading with which
it checks each change.  A test opens for real in every situation and compares.
"""

import errno
from collections.abc import Callable, Iterator

import attrs

from mpio_fuse.errors import OpenRefused
from mpio_fuse.reserve.explain_single import explain_single
from mpio_fuse.reserve.explain_words import Explanation, Removed, Sent, Step
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from mpio_fuse.reserve.local import check_local
from mpio_fuse.reserve.procedure import ERRNOS, Act, Box, End, Outcome, Procedure, reservation_found
from mpio_fuse.reserve.situation import OUR_TYPE, Situation
from mpio_fuse.scsi.opcodes import PrIn, PrOut, TaskManagement
from mpio_fuse.scsi.pr_in import Reservation
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey

FIGURES = {
    "forced_open": "Figure 8, forced open",
    "retain_reservation": "Figure 9, retain reservation",
    "no_reserve": "Figure 10, no reserve",
    "default_reserve": "Figure 11, default reserve",
}


def explain(options: OpenOption, situation: Situation) -> Explanation:
    """Tell what an open with these options would do now.

    Raises:
        UsageError: the options contradict each other.
    """
    procedure = decide(options)
    try:
        check_local(situation.lun, options, situation.opens)
    except OpenRefused as refusal:
        return Explanation(options=options, errno=refusal.errno, reason=refusal.what)
    if not situation.has_persistent_reserve:
        return explain_single(options, situation)
    if situation.reservation is None and situation.opens:
        return Explanation(options=options, errno=errno.EIO, reason="no underpath answers")
    story = _Story(situation)
    if options is OpenOption.NO_RESERVE and situation.is_ours and not situation.standing:
        story.bar()
    end = story.walk(procedure())
    code = ERRNOS.get(end)
    if code is not None:
        story.stand_by()
    return Explanation(
        options=options,
        figure=FIGURES[procedure.__name__],
        steps=tuple(story.steps),
        errno=code,
        reason=_reason(situation) if code is not None else "",
        removed=tuple(story.removed),
        notes=tuple(_notes(options, situation, is_refused=code is not None)),
    )


@attrs.define
class _Story:
    """A walk under way.  ``held`` is the reservation as it would be by now."""

    now: Situation
    steps: list[Step] = attrs.Factory(list)
    removed: list[Removed] = attrs.Factory(list)

    def walk(self, procedure: Procedure) -> End:
        try:
            here = next(procedure)
            while True:
                here = procedure.send(self._take(here))
        except StopIteration as stop:
            end: End = stop.value
            return end

    def _take(self, here: Box) -> Outcome:
        plans: dict[Act, Callable[[], Iterator[Sent]]] = {
            Act.REGISTER_ALL: self._register_all,
            Act.READ_RESERVATION: self._read,
            Act.RESERVE: self._reserve,
            Act.PREEMPT_AND_ABORT: self._preempt,
            Act.RELEASE: self._release,
        }
        plan = plans.get(here.act)
        commands = tuple(plan()) if plan else ()
        outcome = self._outcome(here)
        self.steps.append(Step(here.label, here.act.value, commands, outcome))
        return outcome

    def _outcome(self, here: Box) -> Outcome:
        now = self.now
        match here.act:
            case Act.REGISTER_ALL:
                return Outcome.SOME if now.usable else Outcome.NOBODY
            case Act.READ_RESERVATION:
                return reservation_found(
                    here,
                    is_held=now.reservation is not None and now.reservation.is_held,
                    is_ours=now.is_ours,
                    is_held_open_here=now.is_reserving and not now.is_lost,
                )
            case Act.RESERVE | Act.PREEMPT_AND_ABORT | Act.RELEASE:
                return Outcome.GOOD
        return Outcome.DONE

    # -- what each box sends

    def _register_all(self) -> Iterator[Sent]:
        if self.now.standing:
            return self._confirm_all()
        return self._register_and_ignore()

    def _confirm_all(self) -> Iterator[Sent]:
        """While it is open here nothing is registered unseen: another host may just have preempted us."""
        confirmed = [one.name for one in self.now.usable if one.is_registered]
        for one in self.now.usable:
            if not one.is_registered:
                words = f"REGISTER AND IGNORE EXISTING KEY {self.now.key}"
                note = "between two looks whether all is still ours"
                yield Sent(one.name, PrOut.REGISTER_AND_IGNORE_EXISTING_KEY, words, note)
                confirmed.append(one.name)
        for name in confirmed:
            words = f"REGISTER key {self.now.key}, by key {self.now.key}"
            yield Sent(name, PrOut.REGISTER, words, "tells whether it is still registered")

    def _register_and_ignore(self) -> Iterator[Sent]:
        words = f"REGISTER AND IGNORE EXISTING KEY {self.now.key}"
        action = PrOut.REGISTER_AND_IGNORE_EXISTING_KEY
        for one in self.now.underpaths:
            if one.failure:
                note = f"does not answer ({one.failure}); tried twice, then left out"
                yield Sent(one.name, action, words, note, is_answered=False)
            elif one.is_usable:
                yield Sent(one.name, action, words)

    def _read(self) -> Iterator[Sent]:
        first = self.now.usable[0].name
        yield Sent(first, PrIn.READ_KEYS, "READ KEYS")
        yield Sent(first, PrIn.READ_RESERVATION, "READ RESERVATION")

    def _reserve(self) -> Iterator[Sent]:
        words = f"RESERVE, type {int(OUR_TYPE)} ({OUR_TYPE.title}), by key {self.now.key}"
        yield Sent(self.now.usable[0].name, PrOut.RESERVE, words)

    def _preempt(self) -> Iterator[Sent]:
        held = self.now.reservation
        victim = held.holder if held and held.holder else ZERO_KEY
        self.removed += _registrations_of(victim, self.now)
        yield self._preempt_and_abort(victim)

    def _preempt_and_abort(self, victim: ReservationKey, by: str = "", note: str = "") -> Sent:
        words = f"PREEMPT AND ABORT key {victim}, by key {self.now.key}"
        return Sent(by or self.now.usable[0].name, PrOut.PREEMPT_AND_ABORT, words, note)

    def _release(self) -> Iterator[Sent]:
        """As `Registrar.release`: the nexus that holds, if it can speak; else one that takes over from it first."""
        names = [one.name for one in self.now.usable]
        holder = self.now.holder_name
        if holder in names:
            yield self._release_over(holder)
        elif holder is None:
            first, *others = names
            yield self._release_over(first)
            for name in others:
                yield self._release_over(name, "only if it is still held")
        else:
            for name in names:
                yield self._release_over(name, f"no effect: {holder} holds, and does not answer")
            yield self._preempt_and_abort(self.now.key, note="takes over from the dead underpath")
            yield from self._register_and_ignore()
            yield self._release_over(names[0])
        self.now = attrs.evolve(self.now, reservation=Reservation(0))

    def _release_over(self, name: str, note: str = "") -> Sent:
        return Sent(
            name, PrOut.RELEASE, f"RELEASE, type {int(OUR_TYPE)}, by key {self.now.key}", note
        )

    # -- what the figures leave out

    def bar(self) -> None:
        """Before our reservation is given up: what an earlier time may have under way is ended."""
        lost = {one.name for one in self.now.usable if one.has_lost_write}
        if lost:
            commands = tuple(self._barrier(lost))
            title = "barrier: nothing of ours may land once the reservation is given up"
            self.steps.append(Step("barrier", title, commands, Outcome.DONE))

    def _barrier(self, lost: set[str]) -> Iterator[Sent]:
        """As `mpio_fuse.device.recovery`: a keeper speaks for all but itself."""
        names = [one.name for one in self.now.usable]
        register = f"REGISTER AND IGNORE EXISTING KEY {self.now.key}"
        while lost:
            keeper = min(names, key=lambda name: (name in lost, names.index(name)))
            yield self._preempt_and_abort(self.now.key, keeper)
            self.now = attrs.evolve(self.now, holder_name=keeper)
            if lost == {keeper}:
                yield Sent(keeper, TaskManagement.LOGICAL_UNIT_RESET, "LOGICAL UNIT RESET")
            for name in names:
                if name != keeper:
                    yield Sent(name, PrOut.REGISTER_AND_IGNORE_EXISTING_KEY, register)
            lost = lost & {keeper} if lost != {keeper} else set()

    def stand_by(self) -> None:
        """A refused open of a host that keeps no registrations while it stands by."""
        if not self.now.unregisters_standby or self.now.standing or not self.now.usable:
            return
        words = f"REGISTER key 0, by key {self.now.key}"
        commands = (Sent(one.name, PrOut.REGISTER, words) for one in self.now.usable)
        title = "unregister: a standby keeps no registrations here"
        self.steps.append(Step("standby", title, tuple(commands), Outcome.DONE))


def _registrations_of(victim: ReservationKey, now: Situation) -> Iterator[Removed]:
    """The registrations that PREEMPT of that key removes; key 0 is everybody's (SPC-4 5.13.11.2.6)."""

    def is_victim(key: ReservationKey) -> bool:
        return key == victim if not victim.is_zero else key != now.key

    if now.registrants is not None:
        for one in now.registrants:
            if is_victim(one.key):
                yield Removed(one.key, one.is_holder, one.transport_id)
        return
    holder = now.reservation.holder if now.reservation else None
    for key in now.keys:
        if is_victim(key):
            yield Removed(key, key == holder)


def _reason(now: Situation) -> str:
    held = now.reservation
    if not now.usable or held is None:
        return "no underpath can be registered"
    if held.type is None:
        return "refused"
    who = "every registrant" if held.type.is_all_registrants else f"key {held.holder}"
    return f"reserved by {who} ({held.type.title})"


def _notes(options: OpenOption, now: Situation, *, is_refused: bool) -> Iterator[str]:
    for one in now.underpaths:
        if one.is_busy:
            yield f"{one.name}: an old command is still under way there, so it is not registered"
    if now.is_lost:
        yield f"open here and not ours any more: {len(now.opens)}, fenced whatever this open does"
    if is_refused:
        return
    held = now.reservation
    if OpenOption.FORCED_OPEN in options and held and held.is_held and not now.is_ours:
        yield "where the array has no PREEMPT AND ABORT: PREEMPT, then a LOGICAL UNIT RESET"
    if OpenOption.RETAIN_RESERVATION in options:
        yield "the last close keeps the reservation"
    elif OpenOption.NO_RESERVE not in options and not now.standing:
        yield "the last close releases the reservation"
