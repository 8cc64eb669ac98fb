"""The list of faults that are set."""

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.transport.fault_language import parse_fault
from mpio_fuse.transport.fault_set import MAXIMUM_FAULTS, Faults
from mpio_fuse.transport.fault_words import RESET


def test_clearing_what_is_not_there_clears_nothing() -> None:
    faults = Faults()
    first = faults.add(parse_fault("a: hang"), 0.0)
    with pytest.raises(UsageError, match="there is no fault 7; list them first"):
        faults.clear([first.number, 7])
    assert [fault.number for fault in faults] == [1]
    assert faults.clear([1, 1]) == [first]
    assert faults.add(parse_fault("a: hang"), 0.0).number == 2


def test_there_is_an_end_to_faults() -> None:
    faults = Faults()
    for _ in range(MAXIMUM_FAULTS):
        faults.add(parse_fault("a: hang"), 0.0)
    with pytest.raises(UsageError, match="more than 1000 faults cannot be set; 1000 are set now"):
        faults.add(parse_fault("a: hang"), 0.0)


def test_the_state_of_a_fault() -> None:
    faults = Faults()
    fault = faults.add(parse_fault("a: hang from=2s until=9s count=1"), 100.0)
    assert [fault.state(now_s) for now_s in (100.0, 102.0, 109.0)] == ["waiting", "set", "over"]
    assert faults.strike("a", RESET, 103.0) is fault
    assert [fault.state(now_s) for now_s in (103.0, 109.0)] == ["spent", "over"]
