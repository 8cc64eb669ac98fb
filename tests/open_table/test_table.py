"""The table is what the figures and docs/design.md say; its page is fresh; what compares lines sees a difference."""

import errno
from pathlib import Path
from typing import Any

import attrs
import pytest

from mpio_fuse.reserve.walk import Edge
from mpio_fuse.scsi import inquiry, pr_in, pr_out
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from tests.device.world import KEYS
from tests.open_table import draw
from tests.open_table.play import Registered
from tests.open_table.recording import Sent, answer_of, in_lines, name_of
from tests.open_table.row import Case, Row, difference, read_rows
from tests.reserve.test_figures import FIGURES

ROWS = read_rows()

FIGURE_OF = {
    "default": "fig11_default_reserve",
    "single": "fig11_default_reserve",
    "no-reserve": "fig10_no_reserve",
    "retain": "fig09_retain_reservation",
    "forced": "fig08_forced_open",
    "forced+retain": "fig08_forced_open",
}

REFUSED_LOCALLY = {case for case in ROWS if (case.state, case.option) == ("ours", "single")}

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: str(row.case))


def edges_of(row: Row) -> set[Edge]:
    tables = FIGURES[FIGURE_OF[row.case.option]]
    edges = [*tables["edges"], *tables.get("deviations", [])]
    return {(str(box), outcome, then) for box, outcome, then in edges}


def end_of(row: Row) -> str:
    """The figure's end that the result is."""
    if row.result != "opened":
        return row.result.partition(":")[0]
    return "opened, retained" if row.case.option == "retain" else "opened"


@every_row
def test_the_boxes_are_a_way_through_the_figure(row: Row) -> None:
    if row.case in REFUSED_LOCALLY:
        assert (row.boxes, row.commands, end_of(row)) == ((), (), "EBUSY")
        return
    steps = [one.split(" ", 1) for one in row.boxes]
    after = [box for box, _ in steps[1:]] + [end_of(row)]
    taken = {(box, found, then) for (box, found), then in zip(steps, after, strict=True)}
    assert taken <= edges_of(row)
    assert steps[0][0] in {"520", "1010", "1110"}


@every_row
def test_an_open_is_granted_only_on_what_was_just_read(row: Row) -> None:
    if row.result == "opened":
        assert row.commands[-1].endswith("READ_KEYS, READ_RESERVATION")


@every_row
def test_reserved_is_the_holder_of_ours_or_minus_one(row: Row) -> None:
    is_ours = row.holder.startswith("a")
    assert row.reserved == (int(row.holder[1:]) - 1 if is_ours else -1)


@every_row
def test_who_opened_for_himself_alone_is_the_holder(row: Row) -> None:
    if row.result == "opened":
        is_shared = row.case.option == "no-reserve" and row.case.state != "ours"
        assert row.holder[:1] == ("" if is_shared else "a")
        assert row.retain == ("retain" in row.case.option)


@every_row
def test_a_refused_open_changes_nothing_of_theirs(row: Row) -> None:
    if row.result != "opened":
        free = ROWS[Case("free", row.case.underpaths, "no-reserve")]
        assert row.registered == free.registered
        holds = "a1" if row.case.state.startswith("ours") else "b1"
        assert row.holder == holds


@every_row
def test_only_a_forced_open_takes_from_the_other_host(row: Row) -> None:
    is_taken = row.case.state.startswith("theirs") and row.case.option.startswith("forced")
    assert is_taken == (not any(one.startswith("b") for one in row.registered))


@every_row
def test_an_error_names_itself_and_is_one_line(row: Row) -> None:
    code, _, line = row.result.partition(": ")
    assert code == "opened" or (hasattr(errno, code) and line.startswith("disk: "))
    assert "\n" not in line


def test_a_difference_is_told() -> None:
    row = next(iter(ROWS.values()))
    assert difference(row, row) == ""
    for field in attrs.fields(Row)[1:]:
        changed: dict[str, Any] = {field.name: "else"}
        other = attrs.evolve(row, **changed)
        assert f"  {field.name}:" in difference(row, other)


def test_a_log_in_lines() -> None:
    log = [
        Sent("INQUIRY", "a2"),
        Sent("INQUIRY", "a1", "no answer"),
        Sent("RELEASE", "a2"),
        Sent("READ_KEYS", "a2", "6/29/03"),
        Sent("RELEASE", "a1"),
    ]
    assert in_lines(log) == (
        "a1 (no answer), a2: INQUIRY",
        "a2: RELEASE, READ_KEYS (6/29/03)",
        "a1: RELEASE",
    )


def test_commands_in_words() -> None:
    a, b = KEYS["a"], KEYS["b"]
    ours, other = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, PrType.WRITE_EXCLUSIVE
    named = {
        "INQUIRY": inquiry.inquiry(36),
        "READ_KEYS": pr_in.read_keys(),
        "RESERVE": pr_out.reserve(a, ours),
        "RESERVE type 1": pr_out.reserve(a, other),
        "PREEMPT_AND_ABORT of b": pr_out.preempt_and_abort(a, b, ours),
        "PREEMPT of 0x0000000000000001": pr_out.preempt(a, ReservationKey.from_int(1), ours),
        "REGISTER naming a": pr_out.register(a, b),
        "REGISTER": pr_out.register(ZERO_KEY, a),
    }
    assert [name_of(command) for command in named.values()] == list(named)


def test_the_witness_tells_a_foreign_key_and_type() -> None:
    ours = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY.title
    found = [("b1", KEYS["a"], "Write Exclusive"), ("a1", KEYS["a"], None)]
    assert Registered.of(found) == Registered(
        ("a1", f"b1 under {KEYS['a']}"), f"b1 under {KEYS['a']}, Write Exclusive"
    )
    assert Registered.of([("a1", KEYS["a"], ours)]) == Registered(("a1",), "a1")


def test_answers_in_words() -> None:
    sense = encode_sense(Sense(SenseKey.UNIT_ATTENTION, 0x2A, 0x05))
    assert answer_of(Completion()) == ""
    assert answer_of(Completion(status=Status.RESERVATION_CONFLICT)) == "conflict"
    assert answer_of(Completion(status=Status.CHECK_CONDITION, sense=sense)) == "6/2A/05"
    assert answer_of(Completion(host_status=HostStatus.TIME_OUT)) == "no answer"
    assert answer_of(Completion(status=Status.BUSY)) == "status 08"


def test_the_page_is_fresh() -> None:
    assert draw.FILE.read_text() == draw.page(), "run scripts/draw-open-table"


def test_every_line_is_on_the_page() -> None:
    shown = draw.page().splitlines()
    for row in ROWS.values():
        assert any(row.case.option in line and row.result in line for line in shown)


def test_checking_tells_a_stale_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "FILE", tmp_path / "open-table.md")
    assert draw.main("--check") == 1
    assert draw.main() == 0
    assert draw.main("--check") == 0
    draw.FILE.write_text(stale := draw.FILE.read_text().replace("EBUSY", "EIO", 1))
    assert draw.main("--check") == 1
    assert draw.FILE.read_text() == stale
