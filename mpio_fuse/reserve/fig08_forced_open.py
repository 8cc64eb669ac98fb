"""Figure 8: forced open.  Whoever holds the reservation loses it, with its registrations and tasks."""

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box

_NOBODY_HOLDS_IT = {
    Outcome.FREE: "the figure reserves only by preempting; where nobody holds it we reserve as in Figure 9"
}


def forced_open() -> Procedure:
    """Take the logical unit, from a holder that is believed dead."""
    match (yield box("520", Act.REGISTER_ALL)):  # 810
        case Outcome.NOBODY:
            return End.EIO
    match (yield box("820", Act.READ_RESERVATION, _NOBODY_HOLDS_IT)):
        case Outcome.OURS:  # 830
            pass
        case Outcome.THEIRS:  # 832
            match (yield box("840", Act.PREEMPT_AND_ABORT)):  # 850, 852
                case Outcome.REFUSED:  # 854
                    return End.EBUSY  # 856
        case Outcome.FREE:  # deviation
            match (yield box("984", Act.RESERVE)):
                case Outcome.REFUSED:
                    return End.EBUSY
    yield box("870", Act.OPEN_ALL)  # 858, 860
    return End.OPENED
