"""Whether an underpath still leads to the logical unit that it was found to lead to.

Another disk can sit behind a node after a rescan, a new session or a change at the array, and a host uses one
reservation key on all its disks: without this, one disk's registrations would be taken for another's.  Clones can share
an identity, so a disk of another size is another disk too, until the size of all underpaths has changed.
"""

import math

import trio

from mpio_fuse.device.control import OnAttention
from mpio_fuse.device.probe import Prober
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.identity import Wwid


class SameDisk:
    """Asks underpaths who they lead to, and takes out of service those that lead elsewhere.

    ``capacity`` is the size that the device has, None while nobody could read it.
    """

    def __init__(
        self,
        wwid: Wwid,
        capacity: Capacity | None,
        timeout_s: float,
        on_attention: OnAttention,
    ) -> None:
        self.capacity = capacity
        self._wwid = wwid
        self._timeout_s = timeout_s
        self._on_attention = on_attention

    async def check(self, underpath: Underpath, patience_s: float = math.inf) -> bool:
        """Whether this is our disk: by its identity, and by its size where that can be read now.

        What was suspected of it before is no doubt of its identity any more then.  One that is silent for longer than
        ``patience_s`` has failed.
        """
        told = underpath.suspicion
        is_ours = None
        with trio.move_on_after(patience_s):
            is_ours = await self._prober(underpath).leads_to(self._wwid)
        if is_ours is False:
            underpath.removed(f"this node does not lead to {self._wwid} any more")
            return False
        if is_ours:
            is_ours = None
            with trio.move_on_after(patience_s):
                is_ours = await self.has_our_size(underpath)
        if is_ours is None:
            underpath.registered = False
            underpath.failed("does not answer INQUIRY")
        elif is_ours and told is not None:
            told.is_doubt = False
        return bool(is_ours)

    async def has_our_size(self, underpath: Underpath) -> bool:
        """As far as READ CAPACITY is answered: some targets refuse it to those that are not registered."""
        known = self.capacity
        if known is None:
            return True
        told = await self._prober(underpath).capacity_if_told()
        if told is None:
            return not underpath.has_another_size
        underpath.has_another_size = _shape(told) != _shape(known)
        if not underpath.has_another_size:
            return True
        size = f"{told.blocks} blocks of {told.block_size_bytes} bytes"
        if told.block_size_bytes != known.block_size_bytes:
            underpath.removed(f"this node leads to another disk, of {size}")
            return False
        underpath.refused(f"tells {size}, and the device has {known.blocks}")
        return False

    def _prober(self, underpath: Underpath) -> Prober:
        return Prober(underpath, self._timeout_s, self._on_attention)


def _shape(capacity: Capacity) -> tuple[int, int]:
    return capacity.blocks, capacity.block_size_bytes
