"""A simulated transport of which some commands are answered by the test."""

from collections.abc import Callable

import trio

from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.target.identity import Identity
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import SimulatedTransport

Reply = bytes | Completion | Callable[[], Completion]


def check_condition(key: SenseKey, code: tuple[int, int]) -> Completion:
    return Completion(status=Status.CHECK_CONDITION, sense=encode_sense(Sense(key, *code)))


class AnsweringTransport(SimulatedTransport):
    """``replies`` are given, one after the other, to commands whose name contains their key; the last one stays.

    Bytes are the data of a GOOD answer.  All other commands the model answers.
    """

    def __init__(self, model: LogicalUnitModel, name: str = "sim0", port: int = 1) -> None:
        super().__init__(model, Nexus("iqn.host-a", port), name=name)
        self.replies: dict[str, list[Reply]] = {}
        self.sent: list[str] = []
        self.is_closed = False
        self.hangs = False

    async def execute(self, command: Command) -> Completion:
        self.sent.append(command.name)
        if self.hangs:
            await trio.sleep_forever()
        for part, replies in self.replies.items():
            if part in command.name:
                await trio.lowlevel.checkpoint()
                return _completed(command, replies.pop(0) if len(replies) > 1 else replies[0])
        return await super().execute(command)

    async def aclose(self) -> None:
        self.is_closed = True
        await super().aclose()


def _completed(command: Command, reply: Reply) -> Completion:
    if isinstance(reply, Completion):
        return reply
    if callable(reply):
        return reply()
    assert command.data_in is not None
    data = reply[: len(command.data_in)]
    command.data_in[: len(data)] = data
    return Completion(residual_bytes=len(command.data_in) - len(data))


def disk(
    serial: str = "5eed0001",
    *,
    vendor: str = "ACME",
    product: str = "Array",
    revision: str = "9",
    max_transfer_blocks: int = 0,
    blocks: int = 131072,
) -> LogicalUnitModel:
    """A logical unit, of 64 MiB unless told otherwise."""
    identity = Identity(serial, vendor, product, revision, max_transfer_blocks=max_transfer_blocks)
    return LogicalUnitModel(identity=identity, blocks=blocks)
