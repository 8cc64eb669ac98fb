"""How a pseudo device behaves, as configured."""

from typing import Literal

import attrs

from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.scsi.reservation_key import ReservationKey


@attrs.frozen
class Settings:
    """All times in seconds.

    ``key`` is this host's reservation key, the same on every underpath.  ``io_timeout_s`` bounds one
    data command on one underpath, ``control_timeout_s`` one command that is not data.  ``standby`` says
    what a host that holds nothing keeps at the array: its registrations (the patent's way), or none,
    so that the array refuses it too.  ``serialise_registers``: one REGISTER at a time, for arrays that stall when
    several come at once.  ``aptpl``: what the array has of ours is to survive its loss of power.  ``underpaths``: how
    they are checked and selected, and for how long none may be missed.
    """

    key: ReservationKey
    io_timeout_s: float = 30.0
    control_timeout_s: float = 10.0
    standby: Literal["registered", "unregistered"] = "registered"
    serialise_registers: bool = False
    aptpl: bool = False
    underpaths: UnderpathRules = attrs.Factory(UnderpathRules)
