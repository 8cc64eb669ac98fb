"""Whether another host uses our reservation key: to the array the two would be one, and both would write."""

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import received
from mpio_fuse.scsi.pr_in import FullStatus, decode_full_status, read_full_status
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.transport_id import ISCSI_SEPARATOR, Protocol


def iscsi_initiators(status: FullStatus, key: ReservationKey) -> set[str]:
    """The iSCSI initiator names that have this key registered.

    A host has one, whatever its sessions.  The port names of other transports differ between a host's own
    adapters, so they prove nothing and are left out.
    """
    return {
        (one.transport_id.name or "").partition(ISCSI_SEPARATOR)[0]
        for one in status.registrants
        if one.key == key
        and one.transport_id is not None
        and one.transport_id.protocol == Protocol.ISCSI
    }


async def users_of(
    key: ReservationKey, underpath: Underpath, timeout_s: float, on_attention: OnAttention
) -> set[str] | None:
    """The iSCSI initiators with our key; None where nobody can tell, or some registrant with it has no such name."""
    command = read_full_status()
    completion = await issue(underpath, command, timeout_s, on_attention)
    if not completion.is_good:
        return None
    try:
        status = decode_full_status(received(command, completion))
    except DecodeError:
        return None
    return iscsi_initiators(status, key)


async def other_users_of(
    key: ReservationKey, underpath: Underpath, timeout_s: float, on_attention: OnAttention
) -> set[str]:
    """All initiators with our key, when they are more than one; empty otherwise, or where nobody can tell."""
    names = await users_of(key, underpath, timeout_s, on_attention)
    return names if names and len(names) > 1 else set()
