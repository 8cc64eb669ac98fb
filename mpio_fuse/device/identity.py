"""Whether a device node still leads to the disk that was found there: another may sit behind it after a rescan."""

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.command import received
from mpio_fuse.scsi.identity import Wwid, logical_unit_wwid
from mpio_fuse.scsi.inquiry import inquiry_vpd
from mpio_fuse.scsi.verdict import Verdict
from mpio_fuse.scsi.vpd import VpdPage, decode_device_identification


def _ignore(_underpath: Underpath, _verdict: Verdict, _what: str) -> None:
    """INQUIRY neither reports nor clears unit attentions (SPC-4 5.14)."""


async def has_wwid(
    underpath: Underpath, wwid: Wwid, timeout_s: float, on_attention: OnAttention = _ignore
) -> bool | None:
    """Whether the underpath answers with that identity now; None when it does not answer."""
    command = inquiry_vpd(VpdPage.DEVICE_IDENTIFICATION)
    completion = await issue(underpath, command, timeout_s, on_attention)
    if not completion.is_good:
        return None
    try:
        designators = decode_device_identification(received(command, completion))
    except DecodeError:
        return False
    return logical_unit_wwid(designators) == wwid
