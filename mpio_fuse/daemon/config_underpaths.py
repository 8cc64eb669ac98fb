"""The configuration's keys about underpaths: the same in `[underpaths]`, for all LUNs, and in a LUN's own table."""

from mpio_fuse.daemon.config_section import (
    Section,
    count,
    one_of,
    seconds,
    seconds_or_zero,
)
from mpio_fuse.device.condition.rules import HealthRules, MarginalRule
from mpio_fuse.device.selection.rules import Failback, SelectionRules, SelectorName
from mpio_fuse.device.underpath_rules import CheckerName, UnderpathRules
from mpio_fuse.errors import UsageError

_SELECTORS = one_of(*(name.value for name in SelectorName))
_CHECKERS = one_of(*(name.value for name in CheckerName))


def take_underpath_rules(section: Section, default: UnderpathRules) -> UnderpathRules:
    """The rules in a table; what it leaves out is as in ``default``.

    Raises:
        UsageError: a value is wrong, or two contradict each other.
    """
    return UnderpathRules(
        checker=section.take(
            "checker", lambda value: CheckerName(_CHECKERS(value)), default.checker
        ),
        health=_health(section, default.health),
        selection=_selection(section, default.selection),
        no_path_timeout_s=section.take(
            "no_path_timeout", seconds_or_zero, default.no_path_timeout_s
        ),
        no_path_requests=section.take("no_path_requests", count, default.no_path_requests),
    )


def _health(section: Section, default: HealthRules) -> HealthRules:
    check_min_s = section.take("check_min", seconds, default.check_min_s)
    check_max_s = section.take("check_max", seconds, max(default.check_max_s, check_min_s))
    if check_max_s < check_min_s:
        what = f"check_max: {check_max_s:g} is less than check_min, {check_min_s:g}"
        raise UsageError(f"{section.where}: {what}")
    return HealthRules(
        check_min_s=check_min_s,
        check_max_s=check_max_s,
        hold_down_s=section.take("hold_down", seconds_or_zero, default.hold_down_s),
        marginal=_marginal(section, default.marginal),
    )


def _marginal(section: Section, default: MarginalRule | None) -> MarginalRule | None:
    """None for ``marginal_failures = 0``: no underpath is ever marginal."""
    known = default or MarginalRule(failures=0)
    rule = MarginalRule(
        failures=section.take("marginal_failures", count, known.failures),
        window_s=section.take("marginal_window", seconds, known.window_s),
        rest_s=section.take("marginal_rest", seconds, known.rest_s),
    )
    return rule if rule.failures else None


def _selection(section: Section, default: SelectionRules) -> SelectionRules:
    return SelectionRules(
        selector=section.take(
            "selector", lambda value: SelectorName(_SELECTORS(value)), default.selector
        ),
        failback=section.take("failback", _failback, default.failback),
    )


def _failback(value: object) -> Failback:
    """``"immediate"``, ``"manual"``, or after so many seconds."""
    words = {"immediate": Failback(0.0), "manual": Failback(None)}
    if isinstance(value, str) and value in words:
        return words[value]
    try:
        return Failback(seconds(value))
    except ValueError:
        what = f"{value!r} is neither immediate nor manual nor a number of seconds above 0"
        raise ValueError(what) from None
