"""One line of the table, and the file that holds them all: ``open_table.toml``."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from tests.open_table.states import STATES

FILE = Path(__file__).with_name("open_table.toml")

OPTIONS = ("default", "no-reserve", "retain", "single", "forced", "forced+retain")

HEAD = """\
# What an open with each option does in each starting state, over one underpath and over two.
#
# Host a opens; its underpaths are a1 and a2, those of the other host b1 and b2.  Played on the model and on LIO.
# Written by `python -m tests.open_table.record` from the model, and then read line by line: a line that changes
# is a change of behaviour.
#
# boxes       the boxes of the figure that ran, each with what it found
# commands    what the open sent, in order: "over which underpaths: what".  Over several in one line it went side by
#             side.  In parentheses: what came instead of GOOD.
# result      "opened", or the errno and the line that the opener sees
# reserved    the patent's field afterwards: index of the underpath that made the reservation, or -1
# retain      the patent's field afterwards
# registered  the nexuses that the array has registered afterwards, as a witness reads it
# holder      the one of them that holds the reservation, "" when nobody does
"""


@attrs.frozen(order=True)
class Case:
    """One line's question."""

    state: str
    underpaths: int
    option: str

    def __str__(self) -> str:
        return f"{self.option}, {self.state}, {self.underpaths}"


@attrs.frozen
class Row:
    """One line's answer; see `HEAD`."""

    case: Case
    boxes: tuple[str, ...]
    commands: tuple[str, ...]
    result: str
    reserved: int
    retain: bool
    registered: tuple[str, ...]
    holder: str


CASES = tuple(
    Case(state, underpaths, option)
    for state in STATES
    for underpaths in (1, 2)
    for option in OPTIONS
)


def read_rows() -> dict[Case, Row]:
    """The table."""
    document = tomllib.loads(FILE.read_text())
    rows = list(_rows(document))
    found = {row.case: row for row in rows}
    if tuple(found) != CASES or len(rows) != len(found):
        raise ValueError(f"{FILE.name} has not exactly the cases of the table, in their order")
    return found


def _rows(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> Iterator[Row]:
    for state, by_count in document.items():
        for underpaths, by_option in by_count.items():
            for option, fields in by_option.items():
                fields["boxes"] = tuple(fields["boxes"])  # type: ignore[arg-type]
                fields["commands"] = tuple(fields["commands"])  # type: ignore[arg-type]
                fields["registered"] = tuple(str(fields["registered"]).split())
                yield Row(Case(state, int(underpaths), option), **fields)  # type: ignore[arg-type]


def text_of(rows: Iterable[Row]) -> str:
    """The file."""
    return HEAD + "".join(_toml(row) for row in rows)


def _toml(row: Row) -> str:
    case = row.case
    commands = "".join(f"  {json.dumps(one)},\n" for one in row.commands)
    return (
        f'\n["{case.state}".{case.underpaths}."{case.option}"]\n'
        f"boxes = {json.dumps(row.boxes)}\n"
        f"commands = [\n{commands}]\n"
        f"result = {json.dumps(row.result)}\n"
        f"reserved = {row.reserved}\n"
        f"retain = {json.dumps(row.retain)}\n"
        f'registered = "{" ".join(row.registered)}"\n'
        f'holder = "{row.holder}"\n'
    )


def difference(expected: Row, played: Row) -> str:
    """What is not as it should be, for people; empty when nothing."""
    lines = []
    for name, was, now in zip(
        (field.name for field in attrs.fields(Row)),
        attrs.astuple(expected, recurse=False),
        attrs.astuple(played, recurse=False),
        strict=True,
    ):
        if was != now:
            lines += [f"  {name}:", f"    table:  {was}", f"    played: {now}"]
    return "\n".join([str(expected.case), *lines]) if lines else ""
