"""Figure 10: no reserve.  Opens without a reservation, and gives up our own if we still have one."""

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box

_OPEN_HERE = {
    Outcome.OURS_AND_OPEN_HERE: "box 1042 would take the reservation from under a handle of this host"
}


def no_reserve() -> Procedure:
    """Open for hosts that share the logical unit by other means; never where another has reserved it."""
    match (yield box("1010", Act.REGISTER_ALL)):
        case Outcome.NOBODY:
            return End.EIO
    match (yield box("1020", Act.READ_RESERVATION, _OPEN_HERE)):  # 1030
        case Outcome.THEIRS:  # 1032, 1036
            return End.EBUSY  # 1038
        case Outcome.OURS:  # 1034, 1040
            match (yield box("1042", Act.RELEASE)):
                case Outcome.REFUSED:
                    return End.EBUSY
        case Outcome.OURS_AND_OPEN_HERE:  # deviation
            pass
        case Outcome.FREE:  # 1080, 1082
            pass
    yield box("1084", Act.OPEN_ALL)
    return End.OPENED
