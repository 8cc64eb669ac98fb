"""Draws docs/open-table.md from open_table.toml: ``scripts/draw-open-table``, or with ``--check`` only compares."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from tests.open_table.row import Row, read_rows
from tests.open_table.states import STATES

FILE = Path(__file__).parents[2] / "docs" / "open-table.md"

HEAD = """\
# What every open does

For each open option, in each starting state, over one underpath and over two: the boxes of the figure that run, the
commands that go out, what the opener gets, and what is so afterwards. Drawn by `scripts/draw-open-table` from
`tests/open_table/open_table.toml`; do not edit it by hand. The same table is played on the model of the array and, with
`sg_persist` over a third host's nexus as the witness, on LIO in the [lab](lab.md).

- Host a opens. `a1`, `a2` are the nexuses of its underpaths, `b1`, `b2` those of the other host, which has found the
  disk too and so is registered.
- *Boxes*: see [figures.md](figures.md); after each what it found. None: refused before any figure ran.
- *Commands*: what went over several underpaths side by side stands before one colon. *identify* is INQUIRY, VPD page
  0x83; *register* is REGISTER AND IGNORE EXISTING KEY; *REGISTER naming a* is REGISTER that conflicts
  where a's registration has been taken away; *look* is READ KEYS and READ RESERVATION, with which every change is
  checked; *full status* is READ FULL STATUS, which shows whether another host uses our key. What came instead of GOOD
  is in parentheses.
- *reserved* is the patent's field: the index of the underpath that made the reservation, or -1. *retain* is the
  patent's field: whether the last close is to keep the reservation.
- *At the array*: the registered nexuses, the reservation's holder in bold.
"""

WORDS = {
    "READ_KEYS, READ_RESERVATION": "look",
    "READ_FULL_STATUS": "full status",
    "REGISTER_AND_IGNORE_EXISTING_KEY": "register",
    "INQUIRY": "identify",
}

COLUMNS = ("option", "boxes", "commands", "result", "reserved", "retain", "at the array")


def page() -> str:
    """The whole of docs/open-table.md."""
    rows = read_rows().values()
    parts = [HEAD]
    for state, of_state in groupby(rows, lambda row: row.case.state):
        parts.append(f"## {state.capitalize()}\n\n{STATES[state].__doc__}\n")
        for underpaths, of_count in groupby(of_state, lambda row: row.case.underpaths):
            parts.append("Over two underpaths:\n" if underpaths > 1 else "Over one underpath:\n")
            parts.append(_table(of_count))
    return "\n".join(parts)


def _table(rows: Iterable[Row]) -> str:
    lines = [_line(COLUMNS), _line("---" for _ in COLUMNS)]
    lines += [_line((", ".join(options), *cells)) for cells, options in _alike(rows).items()]
    return "".join(lines)


def _alike(rows: Iterable[Row]) -> dict[tuple[str, ...], list[str]]:
    """The cells of a line, and the options that have it in common; of one figure, as options come by figures."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        found.setdefault(tuple(_cells(row)), []).append(row.case.option)
    return found


def _cells(row: Row) -> Iterator[str]:
    yield "<br>".join(row.boxes) or "none"
    yield "<br>".join(_in_words(line) for line in row.commands) or "none"
    yield row.result
    yield str(row.reserved)
    yield "yes" if row.retain else "no"
    yield " ".join(f"**{one}**" if one == row.holder else one for one in row.registered)


def _in_words(line: str) -> str:
    for name, words in WORDS.items():
        line = line.replace(name, words)
    return line.replace("_", " ")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def main(*arguments: str) -> int:
    """Write the page; with ``--check``, give 1 if it is not what would be written."""
    if arguments == ("--check",):
        return int(not FILE.exists() or FILE.read_text() != page())
    if arguments:
        sys.stderr.write("usage: scripts/draw-open-table [--check]\n")
        return 2
    FILE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
