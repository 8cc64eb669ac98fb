"""Figure 9: retain reservation.  As the default open, but the last close leaves the reservation."""

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box


def retain_reservation() -> Procedure:
    """Reserve, or find our own reservation, and keep it beyond the last close."""
    match (yield box("520", Act.REGISTER_ALL)):  # 910
        case Outcome.NOBODY:
            return End.EIO
    match (yield box("920", Act.READ_RESERVATION)):  # 930
        case Outcome.THEIRS:  # 932, 934, 936
            return End.EBUSY  # 938
        case Outcome.OURS:  # 940
            pass
        case Outcome.FREE:  # 980, 982
            match (yield box("984", Act.RESERVE)):  # 986
                case Outcome.REFUSED:  # 990
                    return End.EBUSY  # 992
    yield box("942", Act.OPEN_ALL)  # 988, 950
    return End.OPENED_RETAINED  # 960, 970
