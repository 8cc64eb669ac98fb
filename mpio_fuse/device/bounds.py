"""How long things may take at most, whatever hangs: functions of the configured times (docs/config.md).

Each is the sum of what is done one after the other there; what is done to several underpaths is done side by side, or
within one bound for all of them.  So none depends on how many underpaths there are.
"""

from mpio_fuse.device.checks import emergency_s
from mpio_fuse.device.settings import Settings


def request_s(settings: Settings) -> float:
    """One read, write or flush: two commands that hang, each followed by a check of all, and an outage.

    What it waits for besides (a write before it to the same blocks, an open, the barrier) counts within.
    """
    once_s = settings.io_timeout_s + emergency_s(settings.control_timeout_s)
    return 2 * once_s + settings.underpaths.no_path_timeout_s
