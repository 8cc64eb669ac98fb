"""mpio_fuse: every shared SCSI disk of this host as one file, owned by one host at a time.

For programs that use its files: `openx`, and the options it takes.
"""

from mpio_fuse.openx import openx
from mpio_fuse.reserve.fig07_decision import OpenOption

__all__ = ["OpenOption", "openx"]
