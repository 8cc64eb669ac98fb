"""ALUA for selection: what each underpath's target port is for the logical unit, and which is to be preferred."""

import attrs

from mpio_fuse.scsi.target_port_groups import AccessState, TargetPortGroups

WITHOUT_ALUA = 1
"""The preference of an underpath whose array does not say: as active/optimized."""

_PREFERENCES = {
    AccessState.ACTIVE_OPTIMIZED: WITHOUT_ALUA,
    AccessState.ACTIVE_NON_OPTIMIZED: 3,
    AccessState.LOGICAL_BLOCK_DEPENDENT: 4,
    # It may serve by the time the command is there, and says so when it does not.
    AccessState.TRANSITIONING: 5,
}
"""Smaller is better.  The others never carry data: the target would refuse each command (SPC-4 5.15.2)."""

_WITH_PREFERRED_BIT = frozenset((AccessState.ACTIVE_OPTIMIZED, AccessState.ACTIVE_NON_OPTIMIZED))


@attrs.frozen
class Access:
    """One target port group's state; ``is_preferred`` is its PREF bit (SPC-4 6.37)."""

    state: AccessState
    is_preferred: bool = False


def preference(access: Access | None) -> int | None:
    """How good an underpath is: the smallest number first, None never.

    The PREF bit decides between groups of one state, never against a better state: a preferred group that is
    not optimized is one that the array could not make optimized.
    """
    if access is None:
        return WITHOUT_ALUA
    rank = _PREFERENCES.get(access.state)
    if rank is None:
        return None
    return rank - (access.is_preferred and access.state in _WITH_PREFERRED_BIT)


def access_text(access: Access | None) -> str | None:
    """As sg3_utils writes it; None: the array does not say."""
    if access is None:
        return None
    text = access.state.name.lower().replace("active_", "active/").replace("_", "-")
    return f"{text}, preferred" if access.is_preferred else text


def access_of(
    groups: TargetPortGroups, relative_target_port: int | None, target_port_group: int | None
) -> Access | None:
    """What the array says of one target port, by what its VPD page 0x83 calls itself; None: nothing of this port.

    The port goes before the group: a port can be moved to another group, and the page be older than that.
    """
    for group in groups.groups:
        if relative_target_port in group.ports:
            return Access(group.state, group.is_preferred)
    for group in groups.groups:
        if group.group == target_port_group:
            return Access(group.state, group.is_preferred)
    return None
