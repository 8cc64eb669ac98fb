"""Figures from notes: the arithmetic that every stall and every wrong byte in the table has gone through."""

from tests.reliability.figures import seen, wrong_at_the_end
from tests.reliability.layout import STANDING, WRITTEN, serial_in, stamp

Notes = list[tuple[float, float, str | None]]


def steady(from_s: float, until_s: float) -> Notes:
    """An operation a second, of 0.25 s each."""
    return [(at, 0.25, None) for at in range(int(from_s), int(until_s))]


def test_a_long_operation_is_a_stall() -> None:
    notes: Notes = [*steady(0, 3), (3.0, 5.0, None), *steady(8, 10)]
    found = seen(notes, struck_s=3.0)
    # From the success before it to its own end.
    assert (found.stall_s, found.stall_from_s) == (5.75, -0.75)
    assert (found.errors, found.first_error_s) == ({}, None)


def test_failures_do_not_end_a_stall() -> None:
    notes: Notes = [*steady(0, 3), (3.0, 0.5, "EIO"), (4.0, 0.5, "EIO"), *steady(5, 8)]
    found = seen(notes, struck_s=3.0)
    assert found.stall_s == 3.0
    assert (found.errors, found.first_error_s) == ({"EIO": 2}, 0.5)


def test_what_fails_for_good_stalls_until_it_is_told() -> None:
    notes: Notes = [
        *steady(0, 3),
        (3.0, 2.0, "EBADE"),
        *[(at, 0.0, "EBADE") for at in range(5, 60)],
    ]
    assert seen(notes, struck_s=3.0).stall_s == 2.75


def test_a_stall_before_the_fault_is_not_of_it() -> None:
    notes: Notes = [*steady(0, 2), (2.0, 7.0, None), *steady(9, 12)]
    assert seen(notes, struck_s=9.5).stall_s == 1.0


def test_no_success_at_all() -> None:
    found = seen([(0.0, 4.0, "EIO"), (4.0, 4.0, "EIO")], struck_s=0.0)
    assert (found.stall_s, found.errors) == (4.0, {"EIO": 2})


def test_a_stamp_is_a_whole_block_of_one_place() -> None:
    block = stamp("written", 3, 7)
    assert serial_in(block, "written", 3) == 7
    assert serial_in(block, "written", 4) is None
    assert serial_in(block, "standing", 3) is None
    assert serial_in(block[:-1] + b"!", "written", 3) is None
    assert serial_in(block[:2048] + stamp("written", 3, 8)[2048:], "written", 3) is None
    assert serial_in(bytes(4096), "written", 3) is None


def ends_as(
    serials: list[int], acknowledged: list[int], attempted: list[list[int]] | None = None
) -> list[str]:
    """What is wrong when the first slots of what is written hold these."""
    rest = WRITTEN.slots - len(serials)
    report = {
        "acknowledged": acknowledged + [0] * rest,
        "attempted": (attempted or [[]]) + [[]] * rest,
    }
    blocks = {
        WRITTEN.name: [
            stamp(WRITTEN.name, slot, serial) for slot, serial in enumerate(serials + [0] * rest)
        ],
        STANDING.name: [stamp(STANDING.name, slot, 0) for slot in range(STANDING.slots)],
    }
    return wrong_at_the_end(report, blocks)


def test_the_medium_holds_what_was_acknowledged_last() -> None:
    assert ends_as([5], acknowledged=[5]) == []
    (wrong,) = ends_as([4], acknowledged=[5])
    assert wrong.startswith("written 0 ends as b'written 000000 000000000004")


def test_or_one_of_the_failed_writes_after_it() -> None:
    assert ends_as([7], acknowledged=[5], attempted=[[6, 7, 8]]) == []
    assert ends_as([5], acknowledged=[5], attempted=[[6, 7, 8]]) == []
    assert len(ends_as([4], acknowledged=[5], attempted=[[6, 7, 8]])) == 1


def test_what_nobody_wrote_stands() -> None:
    report = {"acknowledged": [0] * WRITTEN.slots, "attempted": [[]] * WRITTEN.slots}
    written = [stamp(WRITTEN.name, slot, 0) for slot in range(WRITTEN.slots)]
    standing = [stamp(STANDING.name, slot, slot == 9) for slot in range(STANDING.slots)]
    blocks = {WRITTEN.name: written, STANDING.name: standing}
    (wrong,) = wrong_at_the_end(report, blocks)
    assert wrong.startswith("standing 9 ends as")
