"""The size of a logical unit, asked over one underpath."""

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.capacity import (
    Capacity,
    decode_read_capacity_10,
    decode_read_capacity_16,
    read_capacity_10,
    read_capacity_16,
)
from mpio_fuse.scsi.command import received


async def read_capacity(
    underpath: Underpath, timeout_s: float, on_attention: OnAttention
) -> Capacity | None:
    """READ CAPACITY(16), or (10) for a disk that does not have it; None when neither answers.

    A target may answer RESERVATION CONFLICT while another host holds the reservation and this nexus is
    not registered.

    Raises:
        DecodeError: it answers nonsense.
    """
    try:
        command = read_capacity_16()
        completion = await issue(underpath, command, timeout_s, on_attention)
        if completion.is_good:
            return decode_read_capacity_16(received(command, completion))
        command = read_capacity_10()
        completion = await issue(underpath, command, timeout_s, on_attention)
        if completion.is_good:
            return decode_read_capacity_10(received(command, completion))
    except DecodeError as error:
        raise DecodeError(error.what, underpath=underpath.name) from None
    return None
