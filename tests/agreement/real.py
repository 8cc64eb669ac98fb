"""Runs in the guest: the real target's side, one sg node a nexus."""

import fcntl
import os
import struct
from collections.abc import Callable, Mapping

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import Command, Completion, Status, received
from mpio_fuse.scsi.pr_in import decode_keys, decode_reservation
from mpio_fuse.scsi.pr_out import ALL_TG_PT
from mpio_fuse.scsi.sense import SenseKey, decode_sense
from mpio_fuse.transport.data_phase import data_phase_of
from mpio_fuse.transport.sg.native import pass_through
from tests.agreement.answer import text_of_data, text_of_sense
from tests.agreement.end import End
from tests.agreement.side import ANSWERED_NOTHING, WRITTEN_BLOCKS
from tests.agreement.step import LOG_IN_AGAIN, LUN_RESET, Step, on_the_wire, speaks_of_b1

SG_SCSI_RESET = 0x2284
SG_SCSI_RESET_DEVICE_ONLY = 0x101
"""The logical unit, and nothing more should that fail (SG_SCSI_RESET_NO_ESCALATE)."""

PATIENCE = 64
"""tgt queues the same unit attention many times over."""

MAX_BYTES = 1 << 17
CLEANING_KEY = "0xc1ea4"
REGISTER = f"prout 6 0 0 {CLEANING_KEY}"
CLEAR = f"prout 3 0 {CLEANING_KEY}"


class NotClean(Exception):
    """The target is not back to nothing, so no sequence can be compared."""


class RealSide:
    """Every nexus an open sg node; ``log_in_again`` ends a session and gives its nexus's new end."""

    def __init__(self, ends: Mapping[str, End], log_in_again: Callable[[End], End]) -> None:
        self._ends = dict(ends)
        self._log_in_again = log_in_again
        self._fds = {who: _open(end.sg) for who, end in ends.items()}
        self._ports: dict[tuple[bytes, int], str] = {}
        self._generation = 0

    def begin(self) -> None:
        self._ends = {who: attrs.evolve(end, session=0) for who, end in self._ends.items()}
        self._ports = {end.port: end.name for end in self._ends.values()}
        self._settle_all()
        for who in self._fds:
            self._persevere(who, "rel6")
        if any(not self._persevere(who, "tur").is_good for who in self._fds):
            self._reset_lun(next(iter(self._fds)))
        self._clear(next(iter(self._fds)))
        self._settle_all()
        self._write_zeros_and_look()

    def take(self, step: Step) -> str:
        if step.words == LUN_RESET:
            self._reset_lun(step.who)
            return ANSWERED_NOTHING
        if step.words == LOG_IN_AGAIN:
            self._renew(step.who)
            return ANSWERED_NOTHING
        command, completion = self._send(step.who, step.words)
        text = f"{completion.status:02x}"
        if completion.host_status:
            text += f" host status {completion.host_status:02x}"
        if completion.sense:
            text += f" {text_of_sense(completion.sense)}"
        if not completion.is_good:
            return text
        data = received(command, completion)
        return text + text_of_data(command.cdb, data, self._generation, self._ports)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def _send(self, who: str, words: str) -> tuple[Command, Completion]:
        wire = on_the_wire(words, self._ends["B1"].transport_id.raw if speaks_of_b1(words) else b"")
        data_in = bytearray(wire.data_in_length_bytes) or None
        command = Command(words, wire.cdb, data_out=wire.data_out, data_in=data_in)
        phase = data_phase_of(command, MAX_BYTES)
        return command, pass_through(self._fds[who], wire.cdb, phase, command.timeout_s)

    def _persevere(self, who: str, words: str) -> Completion:
        """Send until no unit attention is in the way."""
        for _ in range(PATIENCE):
            _, completion = self._send(who, words)
            if not _is_attention(completion):
                return completion
        raise NotClean(f"{who} {words}: nothing but unit attentions")

    def _clear(self, who: str) -> None:
        if not self._persevere(who, REGISTER).is_good:
            # LIO: what was registered with ALL_TG_PT must be changed with ALL_TG_PT.
            self._persevere(who, f"{REGISTER} {ALL_TG_PT}")
        self._persevere(who, CLEAR)

    def _settle_all(self) -> None:
        for who in self._fds:
            self._persevere(who, "tur")

    def _reset_lun(self, who: str) -> None:
        fcntl.ioctl(self._fds[who], SG_SCSI_RESET, struct.pack("i", SG_SCSI_RESET_DEVICE_ONLY))

    def _renew(self, who: str) -> None:
        os.close(self._fds.pop(who))
        self._ends[who] = end = self._log_in_again(self._ends[who])
        self._fds = {name: self._fds[name] if name != who else _open(end.sg) for name in self._ends}
        self._ports[end.port] = end.name

    def _write_zeros_and_look(self) -> None:
        first = next(iter(self._fds))
        written = self._persevere(first, f"write 0 {WRITTEN_BLOCKS} 0")
        keys, reservation = (
            received(*self._send(first, words)) for words in ("keys", "reservation")
        )
        try:
            registered = decode_keys(keys)
            is_clean = not registered.keys and not decode_reservation(reservation).is_held
        except DecodeError as error:
            raise NotClean(f"{first}: {error}") from error
        if not written.is_good or not is_clean:
            raise NotClean(
                f"{first}: {written}, keys {keys.hex()}, reservation {reservation.hex()}"
            )
        self._generation = registered.generation


def _open(node: str) -> int:
    return os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _is_attention(completion: Completion) -> bool:
    if completion.status != Status.CHECK_CONDITION:
        return False
    return decode_sense(completion.sense).key == SenseKey.UNIT_ATTENTION
