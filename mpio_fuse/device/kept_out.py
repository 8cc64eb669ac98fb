"""Whether a SCSI-2 reservation keeps anybody out: some disks answer RESERVE(6) with GOOD and do nothing.

The reservation cannot be read.  But it belongs to one nexus, so while this host holds it over one underpath, TEST UNIT
READY over another has to conflict (SPC-2 5.5.1).  Where it is GOOD instead, nothing is reserved, or the array
reserves for an initiator as a whole: that much can be known, and no more.
"""

from collections.abc import Awaitable, Callable, Iterable

import structlog

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.same_disk import SameDisk
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.unit_ready import test_unit_ready

log = structlog.get_logger(__name__)


class KeptOut:
    """Asks until it is known, of one logical unit."""

    def __init__(
        self, lun: str, same_disk: SameDisk, timeout_s: float, on_attention: OnAttention
    ) -> None:
        self._log = log.bind(lun=lun)
        self._same_disk = same_disk
        self._timeout_s = timeout_s
        self._on_attention = on_attention
        self._is_kept_out: bool | None = None

    @property
    def others(self) -> bool | None:
        """Whether other nexuses are kept out; None: not known."""
        return self._is_kept_out

    async def look(
        self,
        carrier: Underpath,
        underpaths: Iterable[Underpath],
        still_holds: Callable[[], Awaitable[bool]],
    ) -> None:
        """Ask over another underpath, between two times that ``carrier`` was seen to hold: the last and the next."""
        other = next((one for one in underpaths if one is not carrier and _is_there(one)), None)
        if self._is_kept_out is not None or other is None:
            return
        if not await self._same_disk.check(other):
            return
        completion = await issue(other, test_unit_ready(), self._timeout_s, self._on_attention)
        is_told = completion.is_good or completion.status == Status.RESERVATION_CONFLICT
        if not is_told or not await still_holds():
            return
        self._is_kept_out = not completion.is_good
        if completion.is_good:
            self._log.warning("reservation keeps nobody out", underpath=other.name)


def _is_there(underpath: Underpath) -> bool:
    is_out = underpath.state in (UnderpathState.REMOVED, UnderpathState.DOWN)
    return not is_out and not underpath.health.is_held_out and underpath.is_idle
