"""Figure 5: the add option.  At configure time each underpath registers with the logical unit.

Boxes 520 and 522 of the figure happen later: 520 opens every other figure, 522 is box 840.
"""

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box


def register() -> Procedure:
    """Register one underpath; a second attempt, then it is dead and skipped (the patent's summary)."""
    match (yield box("510", Act.REGISTER)):  # 512
        case Outcome.GOOD:  # 540
            return End.REGISTERED  # 550
    match (yield box("510 again", Act.REGISTER)):  # 514
        case Outcome.GOOD:  # 540
            return End.REGISTERED  # 550
    return End.NOT_REGISTERED  # 516
