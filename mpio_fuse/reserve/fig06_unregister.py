"""Figure 6: the remove option.  A reservation is released before its underpaths go."""

from mpio_fuse.reserve.procedure import Act, End, Procedure, box


def unregister(*, reserved: bool) -> Procedure:
    """Take all underpaths of a device out of the registrants.

    Args:
        reserved: boxes 620-626: the last close left the reservation, because it was to be retained.
    """
    if reserved:  # 620, 622, 624, 626
        # Refused or not, the registrations go: with the last of them goes a reservation of type 6.
        yield box("628", Act.RELEASE)
    yield box("unregister", Act.UNREGISTER_ALL)  # 610
    return End.REMOVED
