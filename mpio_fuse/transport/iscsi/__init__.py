"""The transport over iSCSI sessions of our own, on libiscsi: no kernel driver and no root."""

from mpio_fuse.transport.iscsi.send_targets import Target, discover_targets, find_units
from mpio_fuse.transport.iscsi.settings import IscsiSettings, configure, stow
from mpio_fuse.transport.iscsi.transport import IscsiTransport, open_iscsi
from mpio_fuse.transport.iscsi.url import Credentials

__all__ = [
    "Credentials",
    "IscsiSettings",
    "IscsiTransport",
    "Target",
    "configure",
    "discover_targets",
    "find_units",
    "open_iscsi",
    "stow",
]
