"""Runs in the guest: the comparison on the fabric that is there."""

import contextlib
from collections.abc import Callable, Iterator

import attrs

from tests.agreement.end import ends_of
from tests.agreement.model import ModelSide
from tests.agreement.real import RealSide
from tests.agreement.run import Tally, run
from tests.agreement.session import log_in_again
from tests.agreement.targets import TARGETS
from tests.lab.fabric import FabricReport


@contextlib.contextmanager
def sides(report: FabricReport) -> Iterator[tuple[ModelSide, RealSide]]:
    """The model and the real target, with the fabric's nexuses."""
    ends = ends_of(report)
    quirks = TARGETS[report.fabric.kind].quirks
    real = RealSide(ends, log_in_again)
    try:
        yield ModelSide(quirks, {who: end.nexus for who, end in ends.items()}), real
    finally:
        real.close()


def compare_many(
    report: FabricReport,
    *,
    seed: int,
    numbers: range,
    say: Callable[[str], None],
    sessions: float = 0.0,
) -> Tally:
    """Compare these sequences; ``sessions``: how many of a hundred steps are a login again."""
    menu = attrs.evolve(TARGETS[report.fabric.kind].menu, log_in_again=sessions)
    names = list(ends_of(report))
    with sides(report) as (model, real):
        return run(model, real, names, menu, seed=seed, numbers=numbers, say=say)
