"""ALUA: which underpath is to be preferred, and which never carries data."""

import pytest

from mpio_fuse.device.selection.access import WITHOUT_ALUA, Access, access_of, preference
from mpio_fuse.scsi.target_port_groups import AccessState, TargetPortGroup, TargetPortGroups

ORDER = (
    Access(AccessState.ACTIVE_OPTIMIZED, is_preferred=True),
    Access(AccessState.ACTIVE_OPTIMIZED),
    Access(AccessState.ACTIVE_NON_OPTIMIZED, is_preferred=True),
    Access(AccessState.ACTIVE_NON_OPTIMIZED),
    Access(AccessState.LOGICAL_BLOCK_DEPENDENT),
    Access(AccessState.TRANSITIONING),
)


def test_the_order_of_preference() -> None:
    ranks = [rank for access in ORDER if (rank := preference(access)) is not None]
    assert len(ranks) == len(ORDER)
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("state", [AccessState.LOGICAL_BLOCK_DEPENDENT, AccessState.TRANSITIONING])
def test_the_preferred_bit_says_nothing_of_other_states(state: AccessState) -> None:
    assert preference(Access(state, is_preferred=True)) == preference(Access(state))


@pytest.mark.parametrize(
    "state", [AccessState.STANDBY, AccessState.UNAVAILABLE, AccessState.OFFLINE]
)
@pytest.mark.parametrize("is_preferred", [False, True])
def test_what_would_be_refused_is_not_sent(state: AccessState, *, is_preferred: bool) -> None:
    assert preference(Access(state, is_preferred)) is None


def test_every_state_is_decided_on() -> None:
    never = {AccessState.STANDBY, AccessState.UNAVAILABLE, AccessState.OFFLINE}
    assert {access.state for access in ORDER} | never == set(AccessState)


def test_without_alua_all_are_as_good_as_optimized() -> None:
    assert preference(None) == preference(Access(AccessState.ACTIVE_OPTIMIZED)) == WITHOUT_ALUA


GROUPS = TargetPortGroups(
    (
        TargetPortGroup(1, AccessState.ACTIVE_OPTIMIZED, True, 0, (1, 2)),  # noqa: FBT003 - a record
        TargetPortGroup(2, AccessState.STANDBY, False, 0, (3,)),  # noqa: FBT003
    )
)
FIRST = Access(AccessState.ACTIVE_OPTIMIZED, is_preferred=True)
SECOND = Access(AccessState.STANDBY)


@pytest.mark.parametrize(
    ("port", "group", "access"),
    [
        (2, None, FIRST),
        (3, None, SECOND),
        (3, 1, SECOND),  # moved since page 0x83 was read
        (9, 1, FIRST),
        (None, 2, SECOND),
        (9, 9, None),
        (None, None, None),
    ],
)
def test_the_access_through_one_port(
    port: int | None, group: int | None, access: Access | None
) -> None:
    assert access_of(GROUPS, port, group) == access
