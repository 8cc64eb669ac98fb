"""A transport that writes down what goes over it, and what came back; and how such a log is told in a few lines."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import attrs

from mpio_fuse.errors import TransportError
from mpio_fuse.reserve.situation import OUR_TYPE
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.verdict import is_answer_lost, sense_of
from mpio_fuse.transport.contract import Transport
from tests.device.world import KEYS

SIDE_BY_SIDE = frozenset(
    {"INQUIRY", "READ_CAPACITY", "REGISTER", "REGISTER_AND_IGNORE_EXISTING_KEY"}
)
"""What the device sends over all underpaths at once, so in no order."""

NO_ANSWER = "no answer"
HOST_OF = {key: name for name, key in KEYS.items()}


@attrs.define
class Sent:
    """One command; ``answer`` is empty when it was GOOD, or has not come yet."""

    name: str
    underpath: str
    answer: str = ""

    @property
    def is_side_by_side(self) -> bool:
        return self.name.split()[0] in SIDE_BY_SIDE

    @property
    def remark(self) -> str:
        return f" ({self.answer})" if self.answer else ""


@attrs.define
class RecordingTransport:
    """Calls another transport by a name of the table's, and keeps ``log``, which others share."""

    inner: Transport
    name: str
    log: list[Sent]

    @property
    def max_transfer_bytes(self) -> int:
        return self.inner.max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        return self.inner.max_in_flight

    @property
    def stranded(self) -> int:
        return self.inner.stranded

    async def execute(self, command: Command) -> Completion:
        sent = self._note(name_of(command))
        try:
            completion = await self.inner.execute(command)
        except TransportError:
            sent.answer = NO_ANSWER
            raise
        sent.answer = answer_of(completion)
        return completion

    async def reset_logical_unit(self) -> None:
        sent = self._note("LOGICAL_UNIT_RESET")
        try:
            await self.inner.reset_logical_unit()
        except TransportError:
            sent.answer = NO_ANSWER
            raise

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _note(self, name: str) -> Sent:
        sent = Sent(name, self.name)
        self.log.append(sent)
        return sent


def name_of(command: Command) -> str:
    """The command, or the service action of PERSISTENT RESERVE IN and OUT, with whose key it names."""
    operation = OpCode(command.cdb[0])
    if operation is OpCode.PERSISTENT_RESERVE_OUT:
        return _change(PrOut(command.cdb[1] & 0x1F), command)
    if operation is OpCode.PERSISTENT_RESERVE_IN:
        return PrIn(command.cdb[1] & 0x1F).name
    return "READ_CAPACITY" if operation is OpCode.SERVICE_ACTION_IN_16 else operation.name


def _change(action: PrOut, command: Command) -> str:
    own, other = (ReservationKey(bytes(command.data_out[at : at + 8])) for at in (0, 8))
    words = [action.name]
    if action is PrOut.REGISTER and not own.is_zero:
        words.append(f"naming {HOST_OF.get(own, own)}")
    if action in {PrOut.PREEMPT, PrOut.PREEMPT_AND_ABORT}:
        words.append(f"of {HOST_OF.get(other, other)}")
    pr_type = command.cdb[2] & 0x0F
    if pr_type not in {0, OUR_TYPE}:
        words.append(f"type {pr_type}")
    return " ".join(words)


def answer_of(completion: Completion) -> str:
    """What came instead of GOOD."""
    if completion.is_good:
        return ""
    if is_answer_lost(completion):
        return NO_ANSWER
    if completion.status == Status.RESERVATION_CONFLICT:
        return "conflict"
    sense = sense_of(completion)
    if sense is not None:
        key, (code, qualifier) = sense.code[0], sense.code[1:]
        return f"{key:X}/{code:02X}/{qualifier:02X}"
    return f"status {completion.status:02X}"


def in_lines(log: Iterable[Sent]) -> tuple[str, ...]:
    """``a1, a2: INQUIRY``, and in one line what one underpath got alone, one after the other."""
    return tuple(_lines(log))


def _lines(log: Iterable[Sent]) -> Iterator[str]:
    for (is_side_by_side, what), run in groupby(
        log,
        key=lambda one: (one.is_side_by_side, one.name if one.is_side_by_side else one.underpath),
    ):
        if is_side_by_side:
            yield f"{', '.join(sorted(one.underpath + one.remark for one in run))}: {what}"
        else:
            yield f"{what}: {', '.join(one.name + one.remark for one in run)}"
