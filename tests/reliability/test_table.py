"""The table of docs/reliability.md: every case is in it, and a figure is the longest there was."""

from pathlib import Path
from typing import Any

import attrs

from tests.reliability.cases import CASES
from tests.reliability.figures import Seen
from tests.reliability.outcome import Outcome
from tests.reliability.table import table

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def outcome(stall_s: float, system: str = "mpio-fuse", **errors: int) -> dict[str, Any]:
    writer = Seen(100, stall_s, 0.1, errors, 0.5)
    reader = Seen(100, 0.04, 0.1, {}, None)
    return attrs.asdict(
        Outcome("device-offline", system, writer, reader, None, None, 0, 100, 0.05, [], 9.6)
    )


def cells(*outcomes: dict[str, Any]) -> list[str]:
    """The row of the case, without its name and what happens."""
    by_system = {("device-offline", one["system"]): list(outcomes) for one in outcomes}
    (row,) = (line for line in table(by_system).splitlines() if "`device-offline`" in line)
    return [cell.strip() for cell in row.split("|")[3:-1]]


def test_the_longest_of_several() -> None:
    assert cells(outcome(0.2), outcome(3.14), outcome(1.0)) == [
        "3.1 s, 0.0 s", "nothing", "10 s", "-", "-",
    ]  # fmt: skip


def test_what_programs_were_told() -> None:
    assert cells(outcome(0.2, EIO=3), outcome(0.2, EBADE=1))[1] == "EBADE, EIO"


def test_never_back_is_not_a_time() -> None:
    assert cells(outcome(0.2), outcome(0.2) | {"back_s": None})[2] == "-"


def test_wrong_bytes_cannot_be_overlooked() -> None:
    assert cells(outcome(0.2) | {"wrong": ["written 3"]})[1] == "**wrong bytes**"


def test_the_peer_has_its_own_columns() -> None:
    assert cells(outcome(2.0, "dm-multipath")) == ["-", "-", "-", "2.0 s, 0.0 s", "nothing"]


def test_the_page_has_every_case() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [case.name for case in CASES if f"| `{case.name}` | {case.what} |" not in page] == []
