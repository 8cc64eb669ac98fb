"""The words in which a fault says which commands it strikes, and how they are told to have ended.

Commands are known by their operation code and service action, not by what our code calls them, so every word means the
same whoever built the command.  Outcomes are a SAM status, a host status, sense, or several of them: the three stay
apart here as in `Completion`.
"""

import difflib
import enum
import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.opcodes import MaintenanceIn, OpCode, PrIn, PrOut, ServiceActionIn16
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense

RESET = Command("LOGICAL UNIT RESET", b"")
"""What stands for `Transport.reset_logical_unit` where commands are meant: the one command without a CDB."""

_RESET_OPCODE = -1
_SERVICE_ACTION_MASK = 0x1F

_SERVICE_ACTIONS: Mapping[OpCode, type[enum.IntEnum]] = {
    OpCode.PERSISTENT_RESERVE_IN: PrIn,
    OpCode.PERSISTENT_RESERVE_OUT: PrOut,
    OpCode.SERVICE_ACTION_IN_16: ServiceActionIn16,
    OpCode.MAINTENANCE_IN: MaintenanceIn,
}


@attrs.frozen
class CommandCode:
    """An operation code, with one of its service actions or (None) all."""

    opcode: int
    service_action: int | None = None

    def is_of(self, command: Command) -> bool:
        """Whether the command is one of these."""
        if not command.cdb:
            return self.opcode == _RESET_OPCODE
        if command.cdb[0] != self.opcode:
            return False
        return self.service_action in {None, command.cdb[1] & _SERVICE_ACTION_MASK}


def _words() -> dict[str, frozenset[CommandCode]]:
    """``write-16`` and the like; ``write`` for all lengths of it; ``reserve`` and the like are PR service actions."""
    words = {
        "reset": frozenset((CommandCode(_RESET_OPCODE),)),
        "pr-in": frozenset((CommandCode(OpCode.PERSISTENT_RESERVE_IN),)),
        "pr-out": frozenset((CommandCode(OpCode.PERSISTENT_RESERVE_OUT),)),
    }
    words |= {_word(code.name): frozenset((CommandCode(code),)) for code in OpCode}
    words |= {
        _word(action.name): frozenset((CommandCode(opcode, action),))
        for opcode, actions in _SERVICE_ACTIONS.items()
        for action in actions
    }
    families: dict[str, frozenset[CommandCode]] = {}
    for word, codes in words.items():
        family = re.sub(r"-(6|10|12|16)$", "", word)
        families[family] = families.get(family, frozenset()) | codes
    return families | words


def _word(name: str) -> str:
    return name.lower().replace("_", "-")


COMMAND_WORDS = _words()


def parse_commands(text: str) -> frozenset[CommandCode]:
    """``read,write-16,0x5f/0x04``: words of `COMMAND_WORDS`, operation codes, operation codes with a service action.

    Raises:
        ValueError: one of them is none of these.
    """
    found: set[CommandCode] = set()
    for word in text.split(","):
        if codes := COMMAND_WORDS.get(_word(word)):
            found |= codes
        elif match := re.fullmatch(r"0x([0-9a-fA-F]{1,2})(?:/0x([0-9a-fA-F]{1,2}))?", word):
            found.add(_code(match))
        else:
            raise ValueError(f"{word!r} is no command{nearest(_word(word), COMMAND_WORDS)}")
    return frozenset(found)


def _code(match: re.Match[str]) -> CommandCode:
    opcode, action = match.groups()
    if action is not None and int(action, 16) > _SERVICE_ACTION_MASK:
        raise ValueError(f"service action 0x{action} is more than 0x1f")
    return CommandCode(int(opcode, 16), None if action is None else int(action, 16))


def nearest(word: str, words: Iterable[str]) -> str:
    """What was probably meant, as the end of an error; empty when nothing is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


_NAMED_OUTCOMES: Mapping[str, tuple[str, int]] = {
    **{_word(code.name): ("host", int(code)) for code in HostStatus},
    **{_word(code.name): ("status", int(code)) for code in Status},
    "timeout": ("host", int(HostStatus.TIME_OUT)),
}


def parse_outcome(text: str) -> Completion:
    """``no-connect``, ``busy``, ``3/11/00``, ``host:0x14``, ``sense:7000...``, or several with ``+`` between them.

    Sense makes it CHECK CONDITION, unless a status is there too.

    Raises:
        ValueError: it is none of these, or says one thing twice.
    """
    fields: dict[str, int | bytes] = {}
    for part in text.split("+"):
        for name, value in _outcome_fields(part):
            if name in fields:
                raise ValueError(f"{text!r} has two {name} parts")
            fields[name] = value
    sense = fields.get("sense", b"")
    status = fields.get("status", Status.CHECK_CONDITION if sense else Status.GOOD)
    host_status, driver_status = fields.get("host", 0), fields.get("driver", 0)
    return Completion(int(status), int(host_status), int(driver_status), bytes(sense))


def _outcome_fields(part: str) -> Iterator[tuple[str, int | bytes]]:
    if named := _NAMED_OUTCOMES.get(_word(part)):
        yield named
    elif match := re.fullmatch(r"(status|host|driver):0x([0-9a-fA-F]{1,2})", part):
        yield match[1], int(match[2], 16)
    elif match := re.fullmatch(
        r"(?:sense:)?([0-9a-fA-F])/([0-9a-fA-F]{1,2})/([0-9a-fA-F]{1,2})", part
    ):
        key, asc, ascq = (int(digits, 16) for digits in match.groups())
        yield "sense", encode_sense(Sense(SenseKey(key), asc, ascq))
    elif match := re.fullmatch(r"sense:((?:[0-9a-fA-F]{2})+)", part):
        yield "sense", bytes.fromhex(match[1])
    else:
        near = nearest(_word(part), _NAMED_OUTCOMES)
        raise ValueError(f"{part!r} is no SAM status, host status or sense{near}")


_LONG_FORMS = frozenset((OpCode.READ_16, OpCode.WRITE_16, OpCode.SYNCHRONIZE_CACHE_16))
_SHORT_FORMS = frozenset((OpCode.READ_10, OpCode.WRITE_10, OpCode.SYNCHRONIZE_CACHE_10))


def blocks_of(command: Command) -> range | None:
    """The blocks that a READ, WRITE or SYNCHRONIZE CACHE is about; None of other commands.

    No blocks means to the end of the medium, wherever that is (SBC-3 5.22), for SYNCHRONIZE CACHE only.
    """
    cdb = command.cdb
    opcode = cdb[0] if cdb else None
    if opcode in _SHORT_FORMS and len(cdb) >= 10:
        lba, blocks = int.from_bytes(cdb[2:6], "big"), int.from_bytes(cdb[7:9], "big")
    elif opcode in _LONG_FORMS and len(cdb) >= 16:
        lba, blocks = int.from_bytes(cdb[2:10], "big"), int.from_bytes(cdb[10:14], "big")
    else:
        return None
    is_to_the_end = not blocks and opcode in {
        OpCode.SYNCHRONIZE_CACHE_10,
        OpCode.SYNCHRONIZE_CACHE_16,
    }
    return range(lba, 1 << 64 if is_to_the_end else lba + blocks)
