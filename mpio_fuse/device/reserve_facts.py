"""What a target says of persistent reservations on one LUN, for people to read: what it can do, who holds it.

Reading changes nothing at the target.  Nothing is decided by this: an answer that is missing or nonsense is None.
"""

from collections.abc import Callable
from typing import TypeVar

import attrs

from mpio_fuse.device.control import issue
from mpio_fuse.device.probe import note_nothing
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError, MpioError
from mpio_fuse.scsi import pr_in
from mpio_fuse.scsi.command import Command, received
from mpio_fuse.transport.contract import Transport

Answer = TypeVar("Answer")


@attrs.frozen
class ReserveFacts:
    """Each is None when the target does not say."""

    capabilities: pr_in.Capabilities | None
    keys: pr_in.Keys | None
    reservation: pr_in.Reservation | None


async def read_reserve_facts(transport: Transport, *, timeout_s: float) -> ReserveFacts:
    """Ask over one underpath; ``timeout_s`` bounds each of four commands.  Never raises."""
    reader = _Reader(Underpath(0, transport), timeout_s)
    return ReserveFacts(
        capabilities=await reader.ask(pr_in.report_capabilities(), pr_in.decode_capabilities),
        keys=await reader.keys(),
        reservation=await reader.ask(pr_in.read_reservation(), pr_in.decode_reservation),
    )


@attrs.frozen
class _Reader:
    underpath: Underpath
    timeout_s: float

    async def ask(self, command: Command, decode: Callable[[bytes], Answer]) -> Answer | None:
        try:
            completion = await issue(self.underpath, command, self.timeout_s, note_nothing)
        except MpioError:
            return None
        if not completion.is_good:
            return None
        try:
            return decode(received(command, completion))
        except DecodeError:
            return None

    async def keys(self) -> pr_in.Keys | None:
        """All keys, with a second and larger try for a list that was cut off."""
        keys = await self.ask(pr_in.read_keys(), pr_in.decode_keys)
        if keys is None or not keys.is_truncated:
            return keys
        return await self.ask(pr_in.read_keys(keys.length_bytes), pr_in.decode_keys)
