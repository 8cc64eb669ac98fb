"""Figure 12: release, at the last close."""

from mpio_fuse.reserve.procedure import Act, End, Procedure, box


def release(*, reserved: bool, retain: bool) -> Procedure:
    """Give the reservation up.

    Args:
        reserved: this host made the reservation and still holds it; if not, the request is ignored.
        retain: the open was to retain it.
    """
    yield box("1210", Act.CLOSE_ALL)
    if not reserved or retain:
        return End.CLOSED
    yield box("1220", Act.OPEN_HOLDER)
    # A refused release still closes: the caller's close(2) is over, and whoever runs this looks at
    # the reservation afterwards anyway.
    yield box("1230", Act.RELEASE)
    return End.CLOSED
