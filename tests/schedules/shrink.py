"""Makes a schedule that breaks an invariant small: what is not needed for that is left out."""

from collections.abc import Callable

import attrs

from tests.schedules.invariants import Violation, check
from tests.schedules.play import play
from tests.schedules.schedule import Schedule

Breaks = Callable[[Schedule], bool]


def breaks(schedule: Schedule, invariant: int) -> Violation | None:
    """How the schedule breaks that invariant, if it does."""
    return next((one for one in check(play(schedule).records) if one.invariant == invariant), None)


def shrink(schedule: Schedule, invariant: int) -> Schedule:
    """Leave out events, the last first, again and again, while the same invariant still breaks."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for number in reversed(range(len(schedule.events))):
            fewer = schedule.events[:number] + schedule.events[number + 1 :]
            smaller = attrs.evolve(schedule, events=fewer)
            if breaks(smaller, invariant):
                schedule, is_smaller = smaller, True
    return schedule
