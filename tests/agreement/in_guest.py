"""Runs in the guest: the comparison on the fabric that is there."""

from collections.abc import Callable

import attrs

from tests.agreement.end import ends_of
from tests.agreement.model import ModelSide
from tests.agreement.real import RealSide
from tests.agreement.run import Tally, run
from tests.agreement.session import log_in_again
from tests.agreement.targets import TARGETS
from tests.lab.fabric import FabricReport


def compare_many(
    report: FabricReport,
    *,
    seed: int,
    numbers: range,
    say: Callable[[str], None],
    sessions: float = 0.0,
) -> Tally:
    """Compare these sequences; ``sessions``: how many of a hundred steps are a login again."""
    target = TARGETS[report.fabric.kind]
    menu = attrs.evolve(target.menu, log_in_again=sessions)
    ends = ends_of(report)
    model = ModelSide(target.quirks, {who: end.nexus for who, end in ends.items()})
    real = RealSide(ends, log_in_again)
    try:
        return run(model, real, list(ends), menu, seed=seed, numbers=numbers, say=say)
    finally:
        real.close()
