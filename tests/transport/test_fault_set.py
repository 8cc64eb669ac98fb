"""The list of faults that are set."""

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.transport.fault_language import parse_fault
from mpio_fuse.transport.fault_set import MAXIMUM_FAULTS, Faults


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
    with pytest.raises(UsageError, match="1000 faults are set, and no more can be; clear some"):
        faults.add(parse_fault("a: hang"), 0.0)
