"""One daemon for one LUN under one key on this host, whatever its underpaths are.

To the array a reservation key is a host.  Two daemons with the same key would both be the owner: each would find its
own key holding the reservation, neither would notice the other, and both would write.  The claims on the kernel's
disks (`mpio_fuse.device.claim`) keep two daemons from the same nodes, but not from other nodes of the same LUN, nor
from ``iscsi://`` underpaths, which have none.

The claim is a socket in the kernel's abstract namespace: it goes when its process does, whatever becomes of it.
"""

import hashlib
import socket
from typing import Self

from mpio_fuse.device.claim import DeviceInUse
from mpio_fuse.scsi.reservation_key import ReservationKey


class KeyClaim:
    """Held from `take` to `close`."""

    def __init__(self, claim: socket.socket) -> None:
        self._claim = claim

    @classmethod
    def take(cls, lun: str, wwid: str, key: ReservationKey) -> Self:
        """Claim the LUN of that WWID for this process, under that key; ``lun`` is its name, for people.

        Raises:
            DeviceInUse: another process of this host has it.
        """
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        digest = hashlib.sha256(f"{wwid} {key}".encode()).hexdigest()
        try:
            claim.bind(f"\0mpio-fuse/lun/{digest}")
        except OSError as error:
            claim.close()
            raise DeviceInUse(
                f"another mpio-fuse of this host serves it with the same key, {key}",
                lun=lun,
                hint="'mpio-fuse status' shows it; end that mount, or give this one a --key of its own",
            ) from error
        return cls(claim)

    def close(self) -> None:
        """Let others have it.  May be called again."""
        self._claim.close()
