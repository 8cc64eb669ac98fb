"""How the condition of underpaths is judged, as configured (docs/config.md, `[underpaths]`)."""

import attrs


@attrs.frozen
class MarginalRule:
    """When an underpath is marginal: ``failures`` times out of service within ``window_s``.

    It is then used only where no other is left, until it has not failed for ``rest_s``.
    """

    failures: int = 3
    window_s: float = 120.0
    rest_s: float = 300.0


@attrs.frozen
class HealthRules:
    """All times in seconds.

    ``check_min_s`` is between two checks of an underpath of which something has changed; the interval doubles up to
    ``check_max_s`` while nothing does.  ``hold_down_s`` is how long one that failed carries nothing after it is back,
    while another is left.  ``marginal`` None: no underpath is ever called marginal.
    """

    check_min_s: float = 5.0
    check_max_s: float = 20.0
    hold_down_s: float = 10.0
    marginal: MarginalRule | None = MarginalRule()
