"""``python -m tests.reliability.table FILE...``: the table of docs/reliability.md, from what ``--json -`` wrote.

The files are of both systems; of a case that is in them more often than once, the longest stalls are shown.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.reliability.cases import CASES, Case
from tests.reliability.systems import SystemName

COLUMNS = (
    "Case", "What happens", "Stalls of writer, reader", "Told", "Back after",
    "dm-multipath: stalls of writer, reader", "Told",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|\n"

Outcomes = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""What was measured, by case and system."""


def table(outcomes: Outcomes) -> str:
    """The table, in Markdown."""
    return HEAD + "".join(_row(case, outcomes) for case in CASES)


def _row(case: Case, outcomes: Outcomes) -> str:
    ours = outcomes.get((case.name, SystemName.MPIO_FUSE), ())
    theirs = outcomes.get((case.name, SystemName.DM_MULTIPATH), ())
    cells = [f"`{case.name}`", case.what, _stalls(ours), _told(ours), _back(ours), _stalls(theirs)]
    return f"| {' | '.join([*cells, _told(theirs)])} |\n"


def _stalls(outcomes: Sequence[Mapping[str, Any]]) -> str:
    if not outcomes:
        return "-"
    longest = (max(one[who]["stall_s"] for one in outcomes) for who in ("writer", "reader"))
    return ", ".join(f"{stall_s:.1f} s" for stall_s in longest)


def _told(outcomes: Sequence[Mapping[str, Any]]) -> str:
    if not outcomes:
        return "-"
    told = {
        error for one in outcomes for who in ("writer", "reader") for error in one[who]["errors"]
    }
    bad = {
        f"{error} of the bad sector"
        for one in outcomes
        for error in (one["bad_reader"] or {"errors": ()})["errors"]
    }
    wrong = sum(len(one["wrong"]) for one in outcomes)
    return ", ".join([*sorted(told), *sorted(bad)] + ["**wrong bytes**"] * bool(wrong)) or "nothing"


def _back(outcomes: Sequence[Mapping[str, Any]]) -> str:
    backs_s = [one["back_s"] for one in outcomes]
    if not backs_s or None in backs_s:
        return "-"
    return f"{max(backs_s):.0f} s"


def read(files: Iterable[Path]) -> Outcomes:
    """What the files have."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for file in files:
        for outcome in json.loads(file.read_text()):
            found.setdefault((outcome["case"], outcome["system"]), []).append(outcome)
    return found


if __name__ == "__main__":
    sys.stdout.write(table(read(map(Path, sys.argv[1:]))))
