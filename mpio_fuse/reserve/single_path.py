"""Without persistent reservations: one underpath, and SCSI-2 RESERVE(6) and RELEASE(6).

The patent names this fallback in a sentence and draws no figure, so these boxes have words for numbers.  They follow
the figures of the same options as closely as SCSI-2 lets them: a reservation cannot be read, only tried, and taking
it from another host takes a LOGICAL UNIT RESET, after which whoever comes first has it.
"""

from collections.abc import Callable

from mpio_fuse.reserve.fig07_decision import OpenOption, check_options
from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box


def decide_single(options: OpenOption) -> Callable[[], Procedure]:
    """Figure 7 for a single path; raises `UsageError` as `decide`."""
    check_options(options)
    if OpenOption.FORCED_OPEN in options:
        return forced_open
    if OpenOption.RETAIN_RESERVATION in options:
        return retain_reservation
    if OpenOption.NO_RESERVE in options:
        return no_reserve
    return default_reserve


def forced_open() -> Procedure:
    """As Figure 8: the reset takes the reservation away, and the old owner's commands with it."""
    match (yield box("reset", Act.RESET)):
        case Outcome.REFUSED:
            return End.EBUSY
    match (yield box("reserve", Act.RESERVE_6)):
        case Outcome.REFUSED:
            return End.EBUSY
    return End.OPENED


def retain_reservation() -> Procedure:
    """As Figure 9: our own reservation is reserved again, which is GOOD."""
    match (yield box("reserve", Act.RESERVE_6)):
        case Outcome.REFUSED:
            return End.EBUSY
    return End.OPENED_RETAINED


def no_reserve() -> Procedure:
    """As Figure 10: gives our own reservation up, where there is one, and sees that no other stands."""
    match (yield box("release", Act.RELEASE_6)):
        case Outcome.REFUSED:
            return End.EBUSY
    match (yield box("ready", Act.TEST_UNIT_READY)):
        case Outcome.REFUSED:
            return End.EBUSY
    return End.OPENED


def default_reserve() -> Procedure:
    """As Figure 11."""
    match (yield box("reserve", Act.RESERVE_6)):
        case Outcome.REFUSED:
            return End.EIO
    return End.OPENED
