"""What is done about a failed data command: the second half of the way from a completion to an action.

Theory of operation
-------------------
`mpio_fuse.scsi.verdict` says what kind of thing happened; this table says what a request does about it, how often, and
how long it waits.  `CASES` is data: the first case whose verdict and narrower fields match decides.  A case without
narrower fields ends each verdict's cases, so every completion has one reaction.

A case is narrower than its verdict where the verdict is too coarse to count and pause by: BUSY is waited for, a unit
attention is not; an ALUA transition ends by itself, a standby port does not.

*Nothing here fences.*  No completion proves that another host has taken the device: the same conflict comes from a
nexus that merely lost its registration.  What may mean it asks for `Look.RESERVATION`, and only keys and reservation,
read from the array, fence.

*Counts* are for one request on one underpath.  Every one is finite, or bounded by the request's patience, so that
every request ends (`mpio_fuse.device.attempts` keeps them).
"""

import enum
from collections.abc import Iterable

import attrs

from mpio_fuse.errors import (
    MediumError,
    MpioError,
    NoSpace,
    NotSupported,
    NoUsableUnderpath,
    WriteProtected,
)
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.sense import Sense
from mpio_fuse.scsi.verdict import Verdict, is_answer_lost, judge, sense_of


class Action(enum.Enum):
    """What the request does next."""

    DONE = "the command did what was asked"
    AGAIN = "the same again; any underpath that the request has not given up will do, this one too"
    ELSEWHERE = "give this underpath up for this request"
    FAIL = "tell the caller: no underpath would do better"


class Look(enum.Enum):
    """What somebody must find out because of a completion."""

    NOTHING = "nothing"
    RESERVATION = "keys and reservation, once for the whole device; fence it when they are not ours"
    IDENTITY = "VPD page 0x83 on this underpath, then as RESERVATION"
    CAPACITY = "READ CAPACITY"
    PORT_GROUPS = "REPORT TARGET PORT GROUPS"

    @property
    def comes_first(self) -> bool:
        """Whether nothing more may be sent on that underpath before it was found out."""
        return self in {Look.RESERVATION, Look.IDENTITY}


class Mark(enum.Enum):
    """What a completion says about the underpath itself."""

    NOTHING = "nothing"
    GHOST = "its port serves no data now"
    DOWN = "it failed"


@attrs.frozen
class BackOff:
    """A pause that doubles from ``first_s`` until it is ``longest_s``."""

    first_s: float
    longest_s: float

    def pause_s(self, earlier: int) -> float:
        """The pause after as many earlier ones."""
        pause_s = self.first_s
        for _ in range(earlier):
            if pause_s >= self.longest_s:
                break
            pause_s *= 2
        return min(pause_s, self.longest_s)


def _is_bounded(reaction: "Reaction", _field: object, max_count: int | None) -> None:
    if max_count is None and reaction.back_off is None:
        raise ValueError("without a count and without a pause it would go round for ever")


@attrs.frozen
class Reaction:
    """What to do about one kind of completion.

    ``max_count``: how often one request may meet it on one underpath; then it gives that underpath up.  None: as long
    as its patience lasts.  ``back_off``: the pause before the next attempt.  With ELSEWHERE it is the pause before the
    request comes back to this underpath, if by then no other could do it; without it, it never comes back as
    long as the underpath was not in between taken out of service and admitted again.  ``patience_s``: for how long
    after the request began it may pause for this; None: as long as for anything.  ``error`` and ``hint`` are what
    the caller is told when the request ends with this.
    """

    action: Action
    back_off: BackOff | None = None
    max_count: int | None = attrs.field(default=1, validator=_is_bounded)
    look: Look = Look.NOTHING
    mark: Mark = Mark.NOTHING
    loses_data: bool = False
    patience_s: float | None = None
    error: type[MpioError] = MpioError
    hint: str = "see 'mpio-fuse status' for its underpaths"


@attrs.frozen(eq=False)
class Case:
    """One line of the table: a verdict, narrowed by what is given, and the reaction.  Each is itself alone.

    ``codes`` is key/ASC/ASCQ in hexadecimal, ``*`` for any.  ``is_short``: GOOD, but not with all the data.
    """

    verdict: Verdict
    reaction: Reaction
    host_status: int | None = None
    status: int | None = None
    codes: str | None = None
    is_short: bool | None = None

    def matches(self, verdict: Verdict, completion: Completion, sense: Sense | None) -> bool:
        """Whether this case is about that completion, whose verdict and decoded sense are given."""
        return (
            self.verdict is verdict
            and self.host_status in {None, completion.host_status}
            and self.status in {None, completion.status}
            and (self.codes is None or _has_codes(self.codes, sense))
            and self.is_short in {None, completion.residual_bytes > 0}
        )


def _has_codes(codes: str, sense: Sense | None) -> bool:
    if sense is None:
        return False
    wanted = codes.split("/")
    return all(
        one == "*" or int(one, 16) == found for one, found in zip(wanted, sense.code, strict=True)
    )


def reaction_to(completion: Completion) -> Reaction:
    """What to do about a completion.  Costs a walk through two tables: ask only about what is not plainly GOOD."""
    return case_of(completion).reaction


def case_of(completion: Completion) -> Case:
    """The line of the table that decides."""
    verdict, sense = judge(completion), sense_of(completion)
    return next(case for case in CASES if case.matches(verdict, completion, sense))


def may_still_run(completion: Completion) -> bool:
    """Whether a write that ended so may yet reach the medium, because nobody knows that the array is done with it.

    Not the same as having failed for transport reasons: an error of the host's own may leave a command behind, and
    a target that says it has no such logical unit leaves none.
    """
    is_without_answer = completion.status == Status.GOOD and judge(completion) is Verdict.UNKNOWN
    return is_answer_lost(completion) or is_without_answer


# -- the table

_SHORT = BackOff(0.01, 1.0)
_SLOW = BackOff(0.25, 2.0)

TRANSITION_S = 60.0
"""How long an ALUA transition may take when the array does not say; multipath's default for it too."""

_QUEUED_ATTENTIONS = 8
"""A nexus can have several unit attentions waiting, each told once and in place of a command."""

_COMINGS_BACK = 6
"""How often a request goes back to an underpath that failed it, was admitted again, and fails it again."""


def _attention(verdict: Verdict, look: Look, codes: str | None = None) -> Case:
    reaction = Reaction(Action.AGAIN, max_count=_QUEUED_ATTENTIONS, look=look)
    return Case(verdict, reaction, codes=codes)


def _failing(verdict: Verdict, error: type[MpioError], hint: str) -> Case:
    return Case(verdict, Reaction(Action.FAIL, error=error, hint=hint))


def _here_cases() -> Iterable[Case]:
    """RETRY_HERE: nothing is wrong with the underpath."""
    again, here = Action.AGAIN, Verdict.RETRY_HERE
    yield Case(here, Reaction(again, max_count=8), host_status=HostStatus.IMM_RETRY)
    # Both come and go with other hosts' load, and end by themselves or not at all.
    for status in (Status.BUSY, Status.TASK_SET_FULL):
        yield Case(here, Reaction(again, _SHORT, max_count=None), status=status)
    yield Case(here, Reaction(again, _SLOW, max_count=None), codes="2/04/01")
    for codes in ("6/2a/06", "6/2a/07"):
        yield _attention(here, Look.PORT_GROUPS, codes)
    yield _attention(here, Look.NOTHING, "6/*/*")
    # The target gives up what it cannot finish, as after a garbled transfer: perhaps the link's fault, so not for long.
    yield Case(here, Reaction(again, max_count=3), codes="b/*/*")
    yield Case(here, Reaction(again, _SHORT, max_count=6))


def _elsewhere_cases() -> Iterable[Case]:
    """What another underpath may do better."""
    elsewhere = Action.ELSEWHERE
    # The answer that was lost may have been the only notice of another disk.
    yield Case(
        Verdict.RETRY_ELSEWHERE,
        Reaction(
            elsewhere,
            max_count=_COMINGS_BACK,
            look=Look.IDENTITY,
            mark=Mark.DOWN,
            error=NoUsableUnderpath,
        ),
    )
    # All port groups of an array may be in transition at once, so this is worth coming back to.
    yield Case(
        Verdict.STANDBY,
        Reaction(
            elsewhere,
            BackOff(0.1, 2.0),
            max_count=None,
            look=Look.PORT_GROUPS,
            patience_s=TRANSITION_S,
            error=NoUsableUnderpath,
            hint="its port groups stay in transition: look at the array",
        ),
        codes="2/04/0a",
    )
    yield Case(
        Verdict.STANDBY,
        Reaction(
            elsewhere,
            max_count=_COMINGS_BACK,
            look=Look.PORT_GROUPS,
            mark=Mark.GHOST,
            error=NoUsableUnderpath,
            hint="no port that answers serves its data: look at the array",
        ),
    )
    array = "the array answers, but the disk behind it does not: look at the array"
    yield Case(Verdict.NOT_READY, Reaction(elsewhere, hint=array))
    yield Case(Verdict.UNKNOWN, Reaction(elsewhere, look=Look.RESERVATION))


def _looking_cases() -> Iterable[Case]:
    """What somebody has to look into, and then the same again."""
    again, look = Action.AGAIN, Look.RESERVATION
    # The look registers a nexus anew that lost its registration; one that conflicts all the same is not worth more.
    conflict = Reaction(
        again,
        max_count=3,
        look=look,
        hint="registered, and yet refused: check how the array tells initiators apart",
    )
    yield Case(Verdict.REEXAMINE, conflict, status=Status.RESERVATION_CONFLICT)
    yield _attention(Verdict.REEXAMINE, look)
    yield _attention(Verdict.RECHECK_IDENTITY, Look.IDENTITY)
    yield _attention(Verdict.CAPACITY_CHANGED, Look.CAPACITY)
    yield Case(Verdict.TASK_ABORTED, Reaction(again, _SHORT, max_count=6, look=look))
    yield Case(Verdict.DEFERRED_ERROR, Reaction(again, max_count=8, loses_data=True))


CASES: tuple[Case, ...] = (
    Case(Verdict.GOOD, Reaction(Action.DONE), is_short=False),
    # GOOD, but not with all the data, is nothing to rely on.
    Case(Verdict.GOOD, Reaction(Action.ELSEWHERE)),
    *_here_cases(),
    *_elsewhere_cases(),
    *_looking_cases(),
    _failing(
        Verdict.MEDIUM_ERROR, MediumError, "these blocks are lost: write them anew from a copy"
    ),
    _failing(Verdict.NO_SPACE, NoSpace, "the array's pool is full: give it room"),
    _failing(
        Verdict.WRITE_PROTECTED, WriteProtected, "the array protects it: lift that there to write"
    ),
    _failing(Verdict.NOT_SUPPORTED, NotSupported, "the array does not have this command"),
    _failing(Verdict.INVALID, MpioError, "if the LUN was made smaller, unmount and mount again"),
)
