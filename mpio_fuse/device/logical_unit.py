"""What is known about a logical unit: facts read from it, none of them made up."""

import attrs

from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.identity import Wwid


@attrs.frozen
class LogicalUnit:
    """One shared disk, as its underpaths describe it.

    ``capacity`` is None while it cannot be read: some targets answer READ CAPACITY with RESERVATION
    CONFLICT to a nexus that is not registered while another host holds the reservation.
    ``max_transfer_blocks`` is the Block Limits VPD page's MAXIMUM TRANSFER LENGTH, None when unlimited.
    """

    wwid: Wwid
    vendor: str
    product: str
    revision: str
    capacity: Capacity | None
    max_transfer_blocks: int | None
    has_persistent_reserve: bool
