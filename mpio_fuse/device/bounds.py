"""How long things may take at most, whatever hangs: functions of the configured times (docs/config.md).

Several underpaths are asked side by side, and those known to hang are not asked: so no bound depends on how many
underpaths there are, and all but `change_s` are met without being enforced.  They are enforced all the same: what takes
longer is cancelled, which leaves what the next open, or the next look, can handle.
"""

from mpio_fuse.device.checks import emergency_s
from mpio_fuse.device.settings import Settings

PREEMPT_TIMEOUT_S = 60.0
"""An array answers PREEMPT AND ABORT only after the victim's commands have ended (LIO: 10 s on a slow disk)."""

RESET_TIMEOUT_S = 30.0
"""The layers below wait for the target, and may first end the commands that they have there."""

_STEPS = 6
"""Of a change of ownership, one after the other: waiting for I/O, identity, registering, reserving, the looks."""


def request_s(settings: Settings) -> float:
    """One read, write or flush: two commands that hang, each followed by a check of all, and an outage.

    What it waits for besides (a write before it to the same blocks, an open, the barrier) counts within.
    """
    once_s = settings.io_timeout_s + emergency_s(settings.control_timeout_s)
    return 2 * once_s + settings.underpaths.no_path_timeout_s


def change_s(settings: Settings) -> float:
    """One open, release or withdrawal, after what came before it: a preemption, a reset, and the steps around them."""
    timeout_s = settings.control_timeout_s
    return max(PREEMPT_TIMEOUT_S, timeout_s) + max(RESET_TIMEOUT_S, timeout_s) + _STEPS * timeout_s
