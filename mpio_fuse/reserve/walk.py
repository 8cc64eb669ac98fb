"""Replay every outcome of a procedure and collect the edges it takes.

The edges are what the figures' tables, tests and diagrams are compared with: ``(box, outcome, next box
or end)``, in the words of the patent's figures.
"""

from collections.abc import Callable, Iterator

from mpio_fuse.reserve.procedure import Box, End, Outcome, Procedure

Edge = tuple[str, str, str]


def walk(procedure: Callable[[], Procedure], *, deviating: bool = True) -> list[Edge]:
    """All edges of a procedure, each once, in the order a depth-first walk meets them.

    Args:
        procedure: starts it anew.
        deviating: also those that only a deviation from the printed figure reaches.

    Raises:
        ValueError: an outcome leads nowhere, or a chart does not end.
    """
    return list(dict.fromkeys(_edges_after(procedure, [], deviating=deviating)))


def _edges_after(
    procedure: Callable[[], Procedure], outcomes: list[Outcome], *, deviating: bool
) -> Iterator[Edge]:
    """The edges of every continuation of a run that has seen ``outcomes`` so far."""
    if len(outcomes) > 16:
        raise ValueError(f"{outcomes}: a chart this long does not end")
    here = replay(procedure, outcomes)
    if isinstance(here, End):
        return
    for outcome in here.outcomes:
        if outcome in here.deviations and not deviating:
            continue
        after = replay(procedure, [*outcomes, outcome])
        yield (here.label, outcome.value, after.value if isinstance(after, End) else after.label)
        yield from _edges_after(procedure, [*outcomes, outcome], deviating=deviating)


def boxes(procedure: Callable[[], Procedure]) -> dict[str, Box]:
    """Every acting box of a procedure by its label, in the order a depth-first walk meets them.

    Raises:
        ValueError: two boxes of one label do different things.
    """
    found: dict[str, Box] = {}
    ahead: list[list[Outcome]] = [[]]
    while ahead:
        outcomes = ahead.pop()
        here = replay(procedure, outcomes)
        if isinstance(here, End):
            continue
        if found.setdefault(here.label, here) != here:
            raise ValueError(f"two boxes {here.label} differ")
        ahead += [[*outcomes, outcome] for outcome in reversed(here.outcomes)]
    return found


def replay(procedure: Callable[[], Procedure], outcomes: list[Outcome]) -> Box | End:
    """Where a procedure stands after the given outcomes: at a box, or at its end."""
    running = procedure()
    try:
        here = next(running)
        for outcome in outcomes:
            here = running.send(outcome)
    except StopIteration as stop:
        if isinstance(stop.value, End):
            return stop.value
        raise ValueError(f"{outcomes}: leads nowhere") from None
    return here
