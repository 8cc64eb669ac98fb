"""The words the patent's flow charts are written in here.

Theory of operation
-------------------
A figure is a generator.  Each ``yield`` is a box that acts: it names the box by its number in the figure and
says what to do; what is sent back in is one of that action's `Outcome` members; the value returned is the
`End` of the chart.  A figure knows no command, underpath, clock or log.  Retries, unit attentions, lost
answers and cancellation belong to who runs it (`mpio_fuse.device.runner`), which answers with an
outcome only once it is known.

`OUTCOMES` says which outcomes an action can have, so that a walker can replay every one of them and a
figure that forgets one is found by the walk, not by a customer.

Where we do something else than the printed figure, the box says so: an outcome among its ``deviations`` leads
where the figure does not, and the edges, the tests and the diagrams tell these from the figure's own.
"""

import enum
import errno
from collections.abc import Generator, Mapping
from types import MappingProxyType

import attrs


class Act(enum.Enum):
    """What a box does, in the verbs of SPC."""

    REGISTER = "register"
    REGISTER_ALL = "register all underpaths with Register And Ignore Existing Key"
    READ_RESERVATION = "read the reservation"
    RESERVE = "reserve"
    RELEASE = "release"
    PREEMPT_AND_ABORT = "preempt and abort the key just read"
    OPEN_ALL = "open all registered underpaths"
    CLOSE_ALL = "close all underpaths"
    OPEN_HOLDER = "open the underpath that holds the reservation"
    UNREGISTER_ALL = "unregister all registered underpaths"
    RESERVE_6 = "reserve, as SCSI-2 does"
    RELEASE_6 = "release, as SCSI-2 does"
    RESET = "reset the logical unit"
    TEST_UNIT_READY = "see whether another host has it reserved"


class Outcome(enum.Enum):
    """What a box can find.  The values are the words of the edge tables."""

    GOOD = "good"
    REFUSED = "refused"
    SOME = "some"
    NOBODY = "nobody"
    FREE = "free"
    OURS = "ours"
    OURS_AND_OPEN_HERE = "ours, and open here"
    THEIRS = "theirs"
    DONE = "done"


class End(enum.Enum):
    """How a procedure ends.  The values are the words of the edge tables."""

    REGISTERED = "registered"
    NOT_REGISTERED = "not registered"
    OPENED = "opened"
    OPENED_RETAINED = "opened, retained"
    CLOSED = "closed"
    REMOVED = "removed"
    EIO = "EIO"
    EBUSY = "EBUSY"


ERRNOS = {End.EIO: errno.EIO, End.EBUSY: errno.EBUSY}
"""What an open that ends so is answered with."""

_GOOD_OR_REFUSED = (Outcome.GOOD, Outcome.REFUSED)

OUTCOMES: dict[Act, tuple[Outcome, ...]] = {
    Act.REGISTER: _GOOD_OR_REFUSED,
    Act.REGISTER_ALL: (Outcome.SOME, Outcome.NOBODY),
    Act.READ_RESERVATION: (Outcome.FREE, Outcome.OURS, Outcome.THEIRS),
    Act.RESERVE: _GOOD_OR_REFUSED,
    Act.RELEASE: _GOOD_OR_REFUSED,
    Act.PREEMPT_AND_ABORT: _GOOD_OR_REFUSED,
    Act.OPEN_ALL: (Outcome.DONE,),
    Act.CLOSE_ALL: (Outcome.DONE,),
    Act.OPEN_HOLDER: (Outcome.DONE,),
    Act.UNREGISTER_ALL: (Outcome.DONE,),
    Act.RESERVE_6: _GOOD_OR_REFUSED,
    Act.RELEASE_6: _GOOD_OR_REFUSED,
    Act.RESET: _GOOD_OR_REFUSED,
    Act.TEST_UNIT_READY: _GOOD_OR_REFUSED,
}


NO_DEVIATIONS: Mapping[Outcome, str] = MappingProxyType({})


@attrs.frozen
class Box:
    """One acting box of a figure.

    ``label`` is its number, as the figure prints it; ``deviations`` says why an outcome goes another way than
    printed.
    """

    label: str
    act: Act
    outcomes: tuple[Outcome, ...]
    deviations: Mapping[Outcome, str] = NO_DEVIATIONS


def box(label: str, act: Act, deviations: Mapping[Outcome, str] = NO_DEVIATIONS) -> Box:
    """A box with its action's outcomes, and those that only a deviation tells apart."""
    more = tuple(outcome for outcome in deviations if outcome not in OUTCOMES[act])
    return Box(label, act, OUTCOMES[act] + more, deviations)


def reservation_found(
    here: Box, *, is_held: bool, is_ours: bool, is_held_open_here: bool
) -> Outcome:
    """The outcome of a box that reads the reservation.

    ``is_ours``: it is our key's, of our type.  ``is_held_open_here``: a handle of this host relies on it.
    """
    if not is_held:
        return Outcome.FREE
    if not is_ours:
        return Outcome.THEIRS
    if is_held_open_here and Outcome.OURS_AND_OPEN_HERE in here.outcomes:
        return Outcome.OURS_AND_OPEN_HERE
    return Outcome.OURS


Procedure = Generator[Box, Outcome, End]
