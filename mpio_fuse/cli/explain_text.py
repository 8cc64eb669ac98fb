"""What ``mpio-fuse explain`` prints for people: a numbered story, made of the document that programs get."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mpio_fuse.cli.persist_text import WIDE, reservation_text
from mpio_fuse.cli.printable import printable

Document = Mapping[str, Any]


def show(document: Document) -> None:
    """Print it."""
    console = Console(width=WIDE, highlight=False, markup=False, emoji=False)
    title = printable(f"open {document['lun']} with {document['options']}")
    console.print(Text(title, style="bold"))
    for line in _lines(document):
        console.print(Text(printable(line)))


def _lines(document: Document) -> Iterator[str]:
    yield f"now: {_now(document)}"
    if document["figure"]:
        yield f"{document['figure']}:"
    for number, step in enumerate(document["steps"], 1):
        # A single path is not in the patent, so its steps are no boxes of a figure.
        yield from _step(number, step, "" if document["is_single_path"] else f"box {step['box']}: ")
    yield f"=> {_answer(document)}"
    alike = [_removed(one) for one in document["removed"]]
    for text, count in Counter(alike).items():
        yield f"   removes {text}" + (f" ({count} of them)" if count > 1 else "")
    for note in document["notes"]:
        yield f"   {note}"


def _now(document: Document) -> str:
    held, opens = document["reservation"], document["opens"]
    here = f"; open here: {', '.join(opens)}" if opens else ""
    if document["is_single_path"]:
        ours = "reserved by this host"
        return (
            ours if document["is_ours"] else "a SCSI-2 reservation, if any, cannot be read"
        ) + here
    if held is None:
        return "no underpath answers"
    if not held["is_held"]:
        return f"nobody holds it{here}"
    whose = "ours" if document["is_ours"] else "not ours"
    return f"{whose}, {reservation_text(held)}{here}"


def _step(number: int, step: Document, box: str) -> Iterator[str]:
    yield f"{number:>3}. {box}{step['title']}: {step['outcome']}"
    for one in step["commands"]:
        note = f"  ({one['note']})" if one["note"] else ""
        yield f"       {one['underpath']}  {one['words']}{note}"


def _answer(document: Document) -> str:
    code = document["errno"]
    if code is None:
        return "the open succeeds"
    return f"the open fails with {document['error']} ({os.strerror(code)}): {document['reason']}"


def _removed(one: Document) -> str:
    holder = ", which holds the reservation" if one["is_holder"] else ""
    whose = f" of {one['transport_id']}" if one["transport_id"] else ""
    return f"the registration of key {one['key']}{whose}{holder}"
