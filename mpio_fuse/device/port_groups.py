"""Asks the array what each underpath's target port is for the logical unit: ALUA, by REPORT TARGET PORT GROUPS.

Read at the beginning, and whenever something hints at a change: a unit attention 2A/06 or 2A/07, an answer that tells
of standby or of a transition, an underpath that comes into service.  The plain form of the command is used: LIO cuts
the extended one off, and nothing here needs its transition time.

An underpath whose port serves no data is a GHOST; one whose port serves data again is checked at once.
"""

from collections.abc import Sequence

import structlog
import trio

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.first_answer import PATIENCE_S, first_answer
from mpio_fuse.device.probe import Prober, TargetPort
from mpio_fuse.device.selection.access import access_of, access_text
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import DecodeError, MpioError
from mpio_fuse.scsi.command import received
from mpio_fuse.scsi.inquiry import Tpgs
from mpio_fuse.scsi.target_port_groups import (
    TargetPortGroups,
    decode_target_port_groups,
    report_target_port_groups,
)

log = structlog.get_logger(__name__)


class PortGroupReader:
    """One device's.  ``timeout_s`` bounds each of the three questions that a reading has."""

    def __init__(
        self,
        lun: str,
        underpaths: Sequence[Underpath],
        timeout_s: float,
        on_attention: OnAttention,
    ) -> None:
        self._underpaths = underpaths
        self._timeout_s = timeout_s
        self._on_attention = on_attention
        self.has_alua: bool | None = None
        """By its standard INQUIRY data; None while nobody has said."""
        self._log = log.bind(lun=lun)

    async def read(self) -> None:
        """See what each port is now; without an answer nothing changes."""
        there = [one for one in self._underpaths if one.is_worth_asking]
        there.sort(key=lambda one: not one.is_usable)
        if self.has_alua is None:
            with trio.move_on_after(self._timeout_s):
                self.has_alua = await first_answer(there, self._ask_for_alua, PATIENCE_S)
        if not self.has_alua:
            return
        groups = None
        with trio.move_on_after(self._timeout_s):
            groups = await first_answer(there, self._ask, PATIENCE_S)
        if groups is None:
            return
        for underpath, port in (await self._ports(there)).items():
            self._take(underpath, groups, port)

    async def _ask_for_alua(self, underpath: Underpath) -> bool | None:
        try:
            return (await self._prober(underpath).standard_inquiry()).tpgs is not Tpgs.NONE
        except MpioError:
            return None

    async def _ask(self, underpath: Underpath) -> TargetPortGroups | None:
        command = report_target_port_groups()
        completion = await issue(underpath, command, self._timeout_s, self._on_attention)
        if not completion.is_good:
            return None
        try:
            return decode_target_port_groups(received(command, completion))
        except DecodeError as error:
            self._log.info("port groups unknown", underpath=underpath.name, cause=str(error))
            return None

    async def _ports(self, underpaths: Sequence[Underpath]) -> dict[Underpath, TargetPort]:
        """What each underpath's port calls itself, asked anew: a session may have moved to another port."""
        found: dict[Underpath, TargetPort] = {}

        async def ask(underpath: Underpath) -> None:
            try:
                found[underpath] = await self._prober(underpath).target_port()
            except MpioError as error:
                self._log.debug("target port unknown", underpath=underpath.name, cause=str(error))

        with trio.move_on_after(self._timeout_s):
            async with trio.open_nursery() as nursery:
                for underpath in underpaths:
                    nursery.start_soon(ask, underpath)
        return found

    def _take(self, underpath: Underpath, groups: TargetPortGroups, port: TargetPort) -> None:
        access = access_of(groups, port.relative, port.group)
        if access == underpath.access:
            return
        text = access_text(access) or "unknown"
        before = access_text(underpath.access) or "unknown"
        self._log.info("port access", underpath=underpath.name, before=before, access=text)
        underpath.access = access
        if not underpath.may_carry and underpath.is_in_service:
            underpath.stands_by(f"its target port is {text}")
        elif underpath.may_carry and underpath.state is UnderpathState.GHOST:
            underpath.health.hurry(trio.current_time())

    def _prober(self, underpath: Underpath) -> Prober:
        return Prober(underpath, self._timeout_s, self._on_attention)
