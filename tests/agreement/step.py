"""One step of a sequence, in the records' words, and what it says to people."""

import functools

import attrs

from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.pr_types import PrType
from tests.target.replay import BLOCK, encode

LUN_RESET = "lun-reset"
LOG_IN_AGAIN = "log-in-again"
"""A new session with an ISID of its own, as logout and login of open-iscsi make one."""


@attrs.frozen
class Step:
    """Who does what; ``words`` are a command's, or one of those above."""

    who: str
    words: str

    @property
    def is_command(self) -> bool:
        return self.words not in {LUN_RESET, LOG_IN_AGAIN}

    @property
    def verb(self) -> str:
        """The kind of step, for counting: ``prout 1``, ``read``."""
        name, *arguments = self.words.split()
        return " ".join([name, *arguments[: name in {"prout", "prin"}]])

    def __str__(self) -> str:
        return f"{self.who} {self.words}"


def in_words(step: Step) -> str:
    """The step as a person would say it."""
    name, *arguments = step.words.split()
    if name == "prout":
        return f"{step.who} {_pr_out(*(int(argument, 0) for argument in arguments))}"
    if name == "prin" and int(arguments[0]) in set(PrIn):
        rest = f", allocation length {arguments[1]}" if arguments[1:] else ""
        return f"{step.who} {PrIn(int(arguments[0])).name.replace('_', ' ')}{rest}"
    return str(step)


def _pr_out(action: int, scope_and_type: int, key: int = 0, new: int = 0, flags: int = 0) -> str:
    name = PrOut(action).name.replace("_", " ") if action in set(PrOut) else f"action {action}"
    pr_type = scope_and_type & 0x0F
    kind = PrType(pr_type).name.replace("_", " ") if pr_type in set(PrType) else f"type {pr_type}"
    scope = f", scope {scope_and_type >> 4}" if scope_and_type >> 4 else ""
    bits = f", flags {flags:#x}" if flags else ""
    return f"{name} key {key:#x} action key {new:#x}, {kind}{scope}{bits}"


@attrs.frozen
class Wire:
    """A command as it is sent."""

    cdb: bytes
    data_out: bytes
    data_in_length_bytes: int


@functools.cache
def on_the_wire(words: str, moved_to: bytes = b"") -> Wire:
    """A command's words; ``moved_to`` is B1's TransportID, which only some speak of (`speaks_of_b1`)."""
    cdb, data_out = encode(words, moved_to)
    return Wire(cdb, data_out, data_in_length_bytes(cdb))


def speaks_of_b1(words: str) -> bool:
    return words.startswith(("move", "spec"))


_LENGTH_FIELDS: dict[int, tuple[int, int]] = {
    OpCode.REQUEST_SENSE: (4, 1),
    OpCode.INQUIRY: (3, 2),
    OpCode.MODE_SENSE_6: (4, 1),
    OpCode.PERSISTENT_RESERVE_IN: (7, 2),
    OpCode.SERVICE_ACTION_IN_16: (10, 4),
    OpCode.REPORT_LUNS: (6, 4),
    OpCode.MAINTENANCE_IN: (6, 4),
}
"""Offset and width of the ALLOCATION LENGTH."""


def data_in_length_bytes(cdb: bytes) -> int:
    """How much data-in a CDB of the records' words asks for."""
    if cdb[0] == OpCode.READ_CAPACITY_10:
        return 8
    if cdb[0] == OpCode.READ_10:
        return BLOCK * int.from_bytes(cdb[7:9], "big")
    if cdb[0] == OpCode.READ_16:
        return BLOCK * int.from_bytes(cdb[10:14], "big")
    offset, width = _LENGTH_FIELDS.get(cdb[0], (0, 0))
    return int.from_bytes(cdb[offset : offset + width], "big")
