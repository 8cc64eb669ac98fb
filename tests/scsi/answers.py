"""The recorded answers of real targets in ``golden/``, and what sg3-utils read out of the same bytes.

They were made by ``golden/capture.py``; its docstring says how to make them again.
"""

import functools
import pathlib
import re
import tomllib
from typing import Any

import attrs

from mpio_fuse.scsi.command import Completion

FOLDER = pathlib.Path(__file__).parent / "golden"
TARGETS = ("lio", "tgt", "scsi_debug", "scsi_debug_descriptor", "scsi_debug_512e", "scsi_debug_4kn")


@attrs.frozen
class Answer:
    """One command a real target was sent and how it ended; ``text`` is sg3-utils' reading."""

    where: str
    cdb: bytes
    data_out: bytes
    completion: Completion
    data: bytes
    text: str

    def said(self, pattern: str) -> str:
        """The first group of the pattern in what sg3-utils printed."""
        match = re.search(pattern, self.text)
        assert match, f"{self.where}: sg3-utils did not print {pattern!r}:\n{self.text}"
        return match[1].strip()

    def said_all(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.text)


def answer(target: str, name: str) -> Answer:
    return _answer(f"{target}.{name}", _load(target)["answer"][name])


def answers(*prefixes: str) -> list[Answer]:
    """Every GOOD answer with data whose name starts so, of all targets."""
    found = [answer(target, name) for target in TARGETS for name in _load(target)["answer"]]
    return [one for one in found if one.data and one.where.split(".")[1].startswith(prefixes)]


def checks() -> list[Answer]:
    """Every answer with sense, of all targets."""
    found = [answer(target, name) for target in TARGETS for name in _load(target)["answer"]]
    return [one for one in found if one.completion.sense]


def sent_by_sg_persist(name: str) -> tuple[bytes, bytes]:
    """The CDB and the parameter list that ``sg_persist -vvv`` says it sent."""
    text = _load("sg_persist")["sg_persist"][name]["text"]
    cdb = re.search(r"out cdb: \[(.*)\]", text)
    assert cdb
    rows = re.findall(r"^ [0-9a-f]{2} {5}((?: {0,2}[0-9a-f]{2}\b)+)", text, re.MULTILINE)
    return bytes.fromhex(cdb[1]), bytes.fromhex("".join(rows))


def sense_texts() -> dict[tuple[int, int], str]:
    """What sg_decode_sense prints for the ASC and ASCQ pairs we have a text for."""
    pairs = ((code.split("/"), text) for code, text in _load("sense_texts").items())
    return {(int(asc, 16), int(ascq, 16)): text for (asc, ascq), text in pairs}


@functools.cache
def _load(target: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{target}.toml").read_text())


def _answer(where: str, table: dict[str, Any]) -> Answer:
    completion = Completion(
        status=table["status"],
        host_status=table["host_status"],
        driver_status=table["driver_status"],
        sense=bytes.fromhex(table["sense"]),
    )
    return Answer(
        where=where,
        cdb=bytes.fromhex(table["cdb"]),
        data_out=bytes.fromhex(table.get("data_out", "")),
        completion=completion,
        data=bytes.fromhex(table["data"]),
        text=table["text"],
    )
