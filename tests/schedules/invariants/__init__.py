"""What is promised, one function a promise.  Each is given the account of one schedule and yields what broke it."""

from collections.abc import Callable, Iterator

from tests.schedules.chronicle import Record
from tests.schedules.invariants.account import Account, Violation, account_of
from tests.schedules.invariants.data import (
    acknowledged_writes_stay,
    reads_belong_to_the_disk,
)
from tests.schedules.invariants.ending import (
    every_request_ends,
    fenced_is_for_good,
    the_next_open_finds_its_way,
)
from tests.schedules.invariants.owner import (
    data_need_registration_and_grant,
    fenced_hosts_stay_out,
    the_last_close_releases,
)

__all__ = ["INVARIANTS", "Violation", "check"]

Invariant = Callable[[Account], Iterator[Violation]]

INVARIANTS: dict[int, Invariant] = {
    1: acknowledged_writes_stay,
    2: fenced_hosts_stay_out,
    3: data_need_registration_and_grant,
    4: the_last_close_releases,
    5: fenced_is_for_good,
    6: every_request_ends,
    7: reads_belong_to_the_disk,
    8: the_next_open_finds_its_way,
}
"""By the number that docs/concurrency.md gives them."""


def check(records: list[Record]) -> list[Violation]:
    """All invariants over one chronicle: what broke them, in order of the invariants."""
    account = account_of(records)
    return [
        violation.of(number)
        for number, invariant in INVARIANTS.items()
        for violation in invariant(account)
    ]
