"""How underpaths are selected, as configured (docs/config.md, `[underpaths]`)."""

import enum

import attrs


class SelectorName(enum.Enum):
    """How load is shared; the value is the word in the configuration."""

    ROUND_ROBIN = "round-robin"
    QUEUE_LENGTH = "queue-length"
    SERVICE_TIME = "service-time"
    FAILOVER_ONLY = "failover-only"


@attrs.frozen
class Failback:
    """When a group that is better than the one in use is gone back to: after so long in service, None: by hand."""

    after_s: float | None = 0.0


@attrs.frozen
class SelectionRules:
    """See the parts."""

    selector: SelectorName = SelectorName.ROUND_ROBIN
    failback: Failback = Failback()
