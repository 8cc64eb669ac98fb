"""How a device treats its underpaths, as configured (docs/config.md, `[underpaths]`)."""

import enum

import attrs

from mpio_fuse.device.condition.rules import HealthRules
from mpio_fuse.device.selection.rules import SelectionRules


class CheckerName(enum.Enum):
    """What is sent to see whether an underpath is there; the value is the word in the configuration."""

    TEST_UNIT_READY = "tur"
    READ = "read"


@attrs.frozen
class UnderpathRules:
    """``no_path_timeout_s``: for how long requests may wait while no underpath is in service, 0: not at all.

    ``no_path_requests``: how many may wait at once.
    """

    checker: CheckerName = CheckerName.TEST_UNIT_READY
    health: HealthRules = attrs.Factory(HealthRules)
    selection: SelectionRules = attrs.Factory(SelectionRules)
    no_path_timeout_s: float = 60.0
    no_path_requests: int = 256
