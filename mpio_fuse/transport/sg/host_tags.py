"""How many commands all open nodes of one SCSI host may have in it together.

A host has a fixed number of tags for all its LUNs.  A write to an sg node takes one, and sleeps, whatever its
flags say, while there is none.  So this process stays below that number; a quarter is left to the kernel's own
users of the same host and to passed-through commands, which wait in threads.
"""

from pathlib import Path
from weakref import WeakValueDictionary

from mpio_fuse.transport.slots import Slots

_SCSI_HOSTS = Path("/sys/class/scsi_host")
_UNKNOWN_CAN_QUEUE = 64

_hosts: WeakValueDictionary[int, Slots] = WeakValueDictionary()


def host_tags_of(host: int) -> Slots:
    """The places of SCSI host number ``host``, one set for all who ask while anybody holds it."""
    tags = _hosts.get(host)
    if tags is None:
        tags = _hosts[host] = Slots(share_of(_can_queue(host)))
    return tags


def share_of(can_queue: int) -> int:
    """How many of a host's ``can_queue`` tags this process uses: three quarters, but one at least."""
    return max(1, can_queue * 3 // 4)


def _can_queue(host: int) -> int:
    try:
        return int((_SCSI_HOSTS / f"host{host}" / "can_queue").read_text())
    except (OSError, ValueError):
        return _UNKNOWN_CAN_QUEUE
