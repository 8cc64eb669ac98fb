"""Replaying what a real storage system answered, command by command, on the model.

A record is a text file made in the lab: two initiators, A and B, with two target ports each.  One line is one
command, ``A1 prout 1 6 0xa1 = 02 2/08/00``: who, what, and then status and sense.  The words are those of the probe
that made it: ``prout ACTION TYPE KEY ACTION-KEY FLAGS``, ``prin ACTION``, ``raw BYTES...`` without data, ``move KEY
ACTION-KEY FLAGS`` and ``spec ACTION-KEY`` about B1.  Lines of one word stand for what the script around the probe
did; ``not good`` is an answer of which the probe told no more.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.pr_in import decode_keys, decode_reservation
from mpio_fuse.scsi.sense import decode_sense
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import Quirks
from mpio_fuse.target.task import Answer

RECORDS = Path(__file__).parent / "measured"
NEXUSES = {
    f"{host}{port}": Nexus(f"iqn.2026-01.lab:host{host.lower()}", port, f"00023d00000{digit}{port}")
    for digit, host in enumerate("AB")
    for port in (1, 2)
}
BLOCK = 512

CDBS = {
    "tur": bytes(6),
    "inq": bytes.fromhex("120000006000"),
    "vpd": bytes.fromhex("12018300fc00"),
    "reqsense": bytes.fromhex("03000000fc00"),
    "rluns": bytes.fromhex("a00000000000000001000000"),
    "rcap": bytes.fromhex("25") + bytes(9),
    "rcap16": bytes.fromhex("9e10") + bytes(8) + bytes.fromhex("000000200000"),
    "modes": bytes.fromhex("1a083f00fc00"),
    "rtpg": bytes.fromhex("a30a00000000000001000000"),
    "read": bytes.fromhex("28000000000000000100"),
    "read16": bytes.fromhex("8800") + bytes(8) + bytes.fromhex("000000010000"),
    "write16": bytes.fromhex("8a00") + bytes(8) + bytes.fromhex("000000010000"),
    "sync16": bytes.fromhex("91") + bytes(15),
    "write": bytes.fromhex("2a000000000000000100"),
    "verify": bytes.fromhex("2f000000000000000100"),
    "sync": bytes.fromhex("35") + bytes(9),
    "wsame": bytes.fromhex("9300") + bytes(8) + bytes.fromhex("000000010000"),
    "res6": bytes.fromhex("160000000000"),
    "rel6": bytes.fromhex("170000000000"),
    "res10": bytes.fromhex("56") + bytes(9),
    "rel10": bytes.fromhex("57") + bytes(9),
    "keys": bytes.fromhex("5e000000000000200000"),
    "reservation": bytes.fromhex("5e010000000000200000"),
}


@attrs.frozen
class Section:
    """One heading of a record, with all lines that come before its end."""

    title: str
    first: int
    lines: tuple[str, ...]


def sections(record: str) -> list[Section]:
    """The record's sections; each begins in the state that those before it left behind."""
    lines: list[str] = []
    found: list[Section] = []
    for line in (RECORDS / f"{record}.txt").read_text().splitlines():
        if line.startswith("## "):
            found.append(Section(line.removeprefix("## "), len(lines), ()))
        elif line and not line.startswith("#"):
            lines.append(line)
            found[-1] = attrs.evolve(found[-1], lines=tuple(lines))
    return found


class Replay:
    """A model and the four nexuses of the record."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._fresh()

    def _fresh(self) -> None:
        self.model = LogicalUnitModel(self._quirks)
        for nexus in NEXUSES.values():
            self.model.attach(nexus)
        self._flush()

    def answers(self, section: Section) -> Iterator[tuple[str, str]]:
        """What the system answered and what the model does, for each line of the section's own."""
        for number, line in enumerate(section.lines):
            if "=" not in line:
                self._around(line)
                continue
            said, expected = line.split(" = ")
            actual = f"{said} = {self._answer(said, expected)}"
            if number >= section.first:
                yield line, actual

    def _around(self, word: str) -> None:
        match word:
            case "fresh":
                self._fresh()
            case "flush":
                self._flush()
            case "start" | "clear-all":
                self._flush()
                for command in ("prout 6 0 0 0xfff", "prout 6 0 0 0xfff", "prout 3 0 0xfff"):
                    self._send("A1", command)
                self._flush()
            case "unregister-all":
                for who in NEXUSES:
                    self._send(who, "prout 6 0 0 0")
            case "lun-reset":
                self.model.lun_reset(NEXUSES["B1"])
            case "A1 lun-reset" | "A2 lun-reset" | "B1 lun-reset" | "B2 lun-reset":
                self.model.lun_reset(NEXUSES[word[:2]])
            case _:
                raise AssertionError(word)

    def _flush(self) -> None:
        for who in NEXUSES:
            while not self._send(who, "tur").is_good:
                pass

    def _send(self, who: str, words: str) -> Answer:
        cdb, data_out = encode(words)
        return self.model.execute(NEXUSES[who], cdb, data_out)

    def _answer(self, said: str, expected: str) -> str:
        who, words = said.split(" ", 1)
        answer = self._send(who, words)
        if expected == "not good" and not answer.is_good:
            return expected
        text = f"{answer.status:02x}"
        if words.startswith("move"):  # sg_persist sent it, which prints no sense
            return text
        if answer.sense:
            sense = decode_sense(answer.sense)
            text += f" {sense.key:x}/{sense.asc:02x}/{sense.ascq:02x}"
        if not answer.is_good:
            return text
        return text + _data(words, answer.data_in, expected)


def _data(words: str, data: bytes, expected: str) -> str:
    if words == "keys":
        keys = decode_keys(data)
        return (
            f" gen={keys.generation:x} keys={','.join(f'{int(key):x}' for key in keys.keys) or '-'}"
        )
    if words == "reservation":
        reservation = decode_reservation(data)
        if reservation.holder is None or reservation.type is None:
            return f" gen={reservation.generation:x} free"
        holder = f"key={int(reservation.holder):x} type={reservation.type:d}"
        return f" gen={reservation.generation:x} {holder}"
    return f" data={data.hex()}" if "data=" in expected else ""


def encode(words: str, moved_to: bytes = NEXUSES["B1"].transport_id.raw) -> tuple[bytes, bytes]:
    """CDB and data-out of a command in the record's words; ``moved_to`` is B1's TransportID."""
    name, *arguments = words.split()
    if name == "raw":
        return bytes.fromhex("".join(arguments)), b""
    numbers = [int(argument, 0) for argument in arguments]
    if name == "move":
        return _move(moved_to, *numbers)
    if name == "spec":
        return _spec(moved_to, *numbers)
    if name in ENCODERS and numbers:
        return ENCODERS[name](*numbers)
    data_out = bytes(BLOCK) if name in {"write", "write16", "wsame"} else b""
    return CDBS[name], data_out


def _read(lba: int, blocks: int) -> tuple[bytes, bytes]:
    return b"\x28\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0", b""


def _write(lba: int, blocks: int, fill: int) -> tuple[bytes, bytes]:
    cdb = b"\x2a\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"
    return cdb, bytes((fill,)) * BLOCK * blocks


def _prin(action: int, allocation: int = 0x2000) -> tuple[bytes, bytes]:
    return bytes((0x5E, action)) + bytes(5) + allocation.to_bytes(2, "big") + b"\0", b""


def _prout(
    action: int, pr_type: int, key: int = 0, action_key: int = 0, flags: int = 0
) -> tuple[bytes, bytes]:
    parameters = key.to_bytes(8, "big") + action_key.to_bytes(8, "big")
    cdb = bytes((0x5F, action, pr_type)) + bytes(5) + b"\x18\0"
    return cdb, parameters + bytes((0, 0, 0, 0, flags, 0, 0, 0))


def _list(action: int, pr_type: int, length_bytes: int) -> tuple[bytes, bytes]:
    cdb = bytes((0x5F, action, pr_type, 0, 0)) + length_bytes.to_bytes(4, "big") + b"\0"
    return cdb, bytes(length_bytes)


def _move(moved_to: bytes, key: int, action_key: int, flags: int) -> tuple[bytes, bytes]:
    return _with_transport_id(moved_to, 7, key, action_key, bytes((0, flags, 0, 1)))


def _spec(moved_to: bytes, action_key: int) -> tuple[bytes, bytes]:
    return _with_transport_id(moved_to, 0, 0, action_key, bytes((0, 0, 0, 0, 8, 0, 0, 0)))


def _with_transport_id(
    transport_id: bytes, action: int, key: int, action_key: int, flags: bytes
) -> tuple[bytes, bytes]:
    """REGISTER AND MOVE to B1, and REGISTER with SPEC_I_PT of B1."""
    parameters = key.to_bytes(8, "big") + action_key.to_bytes(8, "big") + flags
    parameters += len(transport_id).to_bytes(4, "big") + transport_id
    return bytes((0x5F, action, 0, 0, 0)) + len(parameters).to_bytes(4, "big") + b"\0", parameters


ENCODERS: dict[str, Callable[..., tuple[bytes, bytes]]] = {
    "prin": _prin,
    "prout": _prout,
    "list": _list,
    "read": _read,
    "write": _write,
}


def is_conflict(answer: Answer) -> bool:
    """Whether it was refused for a reservation."""
    return answer.status is Status.RESERVATION_CONFLICT
