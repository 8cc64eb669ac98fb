"""``mpio-fuse release``: have a daemon give up the reservation that an open retained."""

import click

from mpio_fuse.daemon import control
from mpio_fuse.daemon.served_luns import require_served

TIMEOUT_S = 120.0
"""It waits for an open or a close of the LUN that is under way."""


@click.command()
@click.argument("lun", metavar="LUN")
def release(lun: str) -> None:
    """Release the reservation that LUN's last close has retained.

    LUN is its file name, its path or its WWID, served by a daemon of this host. Refused while it is open, and when the
    reservation is not this host's. Without a daemon 'mpio-fuse persist release' does it over device nodes.
    """
    served = require_served(lun)
    control.ask(served.daemon, {"request": "release", "lun": served.wwid}, TIMEOUT_S)
