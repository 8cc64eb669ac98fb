"""The transport over the kernel's SCSI generic driver: real ``/dev/sg*`` nodes carry the commands."""

from mpio_fuse.transport.sg.native import sense_text
from mpio_fuse.transport.sg.transport import SgTransport, open_sg

__all__ = ["SgTransport", "open_sg", "sense_text"]
