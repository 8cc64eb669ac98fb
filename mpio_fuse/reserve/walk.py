"""Replay every outcome of a procedure and collect the edges it takes.

The edges are what the figures' tables, tests and diagrams are compared with: ``(box, outcome, next box
or end)``, in the words of the patent's figures.
"""

from collections.abc import Callable, Iterator

from mpio_fuse.reserve.procedure import Box, End, Outcome, Procedure

Edge = tuple[str, str, str]


def walk(procedure: Callable[[], Procedure]) -> list[Edge]:
    """All edges of a procedure, each once, in the order a depth-first walk meets them.

    Raises:
        ValueError: an outcome leads nowhere, or a chart does not end.
    """
    return list(dict.fromkeys(_edges_after(procedure, [])))


def _edges_after(procedure: Callable[[], Procedure], outcomes: list[Outcome]) -> Iterator[Edge]:
    """The edges of every continuation of a run that has seen ``outcomes`` so far."""
    if len(outcomes) > 16:
        raise ValueError(f"{outcomes}: a chart this long does not end")
    here = replay(procedure, outcomes)
    if isinstance(here, End):
        return
    for outcome in here.outcomes:
        after = replay(procedure, [*outcomes, outcome])
        yield (here.label, outcome.value, after.value if isinstance(after, End) else after.label)
        yield from _edges_after(procedure, [*outcomes, outcome])


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
