"""The size of a logical unit and how it takes writes, asked over one underpath."""

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
from mpio_fuse.scsi.mode_sense import decode_mode_header, mode_sense_6


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


async def has_fua(underpath: Underpath, timeout_s: float, on_attention: OnAttention) -> bool:
    """Whether the logical unit says that it takes the FUA bit; no answer is no."""
    command = mode_sense_6()
    completion = await issue(underpath, command, timeout_s, on_attention)
    try:
        return completion.is_good and decode_mode_header(received(command, completion)).has_fua
    except DecodeError:
        return False
