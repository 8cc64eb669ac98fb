"""Figure 11: the default open, and the single open of claims 20 and 21, which runs the same boxes."""

from mpio_fuse.reserve.procedure import Act, End, Outcome, Procedure, box


def default_reserve() -> Procedure:
    """Reserve when nobody has; share our own reservation; fail when it is another host's."""
    match (yield box("1110", Act.REGISTER_ALL)):
        case Outcome.NOBODY:
            return End.EIO
    match (yield box("1130", Act.READ_RESERVATION)):  # 1132
        case Outcome.THEIRS:  # 1133, 1134, 1136
            return End.EIO  # 1138
        case Outcome.OURS:  # 1133, 1134, 1140
            yield box("1142", Act.OPEN_ALL)
            return End.OPENED
    match (yield box("1150", Act.RESERVE)):  # 1144, 1154
        case Outcome.REFUSED:  # 1156
            return End.EIO  # 1158
    yield box("1180", Act.OPEN_ALL)  # 1160, 1170
    return End.OPENED
