"""PERSISTENT RESERVE IN for people: one question at a time, over the first underpath that answers.

Unlike in `mpio_fuse.device.reserve_facts`, an answer that is missing is an error here: it was asked for.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.registrar import ReserveState
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError, NotSupported, NoUsableUnderpath
from mpio_fuse.scsi import pr_in
from mpio_fuse.scsi.command import Command, Completion, received
from mpio_fuse.scsi.verdict import Verdict, describe, judge

Answer = TypeVar("Answer")

ATTEMPTS = 3
"""How often a list is asked for that changes, or grows, between two commands."""


@attrs.frozen
class FullStatus:
    """READ FULL STATUS beside the number of registrations that READ KEYS told of.

    LIO shortens ADDITIONAL LENGTH to the registrants that fit, so the answer alone does not tell that it was cut off.
    """

    status: pr_in.FullStatus
    registrations: int

    @property
    def is_complete(self) -> bool:
        """Whether every registration is shown; one with ALL_TG_PT may stand for several."""
        shown = self.status.registrants
        is_counted = len(shown) >= self.registrations or any(one.all_tg_pt for one in shown)
        return is_counted and not self.status.is_truncated


@attrs.define
class ReserveReader:
    """Asks over ``underpaths``, in their order.  ``timeout_s`` bounds one command on one of them."""

    lun: str
    underpaths: Sequence[Underpath]
    timeout_s: float
    on_attention: OnAttention

    async def keys(self) -> pr_in.Keys:
        """All registered keys: a list that was cut off is asked for again, with room for all of it.

        Raises:
            MpioError: no underpath answers, the target has no persistent reserve, or the answer makes no sense.
        """
        length_bytes = 8192
        for _ in range(ATTEMPTS):
            keys = await self._ask(partial(pr_in.read_keys, length_bytes), pr_in.decode_keys)
            if not keys.is_truncated:
                return keys
            length_bytes = keys.length_bytes
        raise DecodeError("READ KEYS grows whenever it is asked again", lun=self.lun)

    async def reservation(self) -> pr_in.Reservation:
        """Who holds; raises as `keys`."""
        return await self._ask(pr_in.read_reservation, pr_in.decode_reservation)

    async def state(self) -> ReserveState:
        """Keys and reservation; raises as `keys`."""
        return ReserveState((await self.keys()).keys, await self.reservation())

    async def capabilities(self) -> pr_in.Capabilities:
        """What the target can do; raises as `keys`."""
        return await self._ask(pr_in.report_capabilities, pr_in.decode_capabilities)

    async def full_status(self) -> FullStatus:
        """Every registration with its nexus; raises as `keys`, `NotSupported` where there is no such command."""
        for _ in range(ATTEMPTS - 1):
            read = await self._full_status_once()
            if read.is_complete:
                return read
        return await self._full_status_once()

    async def _full_status_once(self) -> FullStatus:
        keys = await self.keys()
        status = await self._ask(pr_in.read_full_status, pr_in.decode_full_status)
        return FullStatus(status, len(keys.keys))

    async def _ask(self, make: Callable[[], Command], decode: Callable[[bytes], Answer]) -> Answer:
        failures = []
        for underpath in self.underpaths:
            command = (
                make()
            )  # a new one each time: the buffer of one without an answer is not ours any more
            completion = await issue(underpath, command, self.timeout_s, self.on_attention)
            if completion.is_good:
                try:
                    return decode(received(command, completion))
                except DecodeError as error:
                    failures.append(f"{underpath.name}: {error}")
            elif judge(completion) in {Verdict.NOT_SUPPORTED, Verdict.INVALID}:
                raise self._unsupported(command, completion)
            else:
                failures.append(f"{underpath.name}: {describe(completion)}")
        raise NoUsableUnderpath(
            f"{make().name}: no usable answer ({'; '.join(failures)})",
            lun=self.lun,
            hint="check the cable, the session and the target",
        )

    def _unsupported(self, command: Command, completion: Completion) -> NotSupported:
        what = f"the target does not have {command.name} ({describe(completion)})"
        hint = "'mpio-fuse persist read-keys' and 'read-reservation' tell what it can"
        is_full_status = "FULL STATUS" in command.name
        return NotSupported(what, lun=self.lun, hint=hint if is_full_status else None)
