"""The transport over iSCSI sessions of our own, on libiscsi: no kernel driver and no root."""

from mpio_fuse.transport.iscsi.settings import IscsiSettings, stow
from mpio_fuse.transport.iscsi.transport import IscsiTransport, open_iscsi
from mpio_fuse.transport.iscsi.url import Credentials

__all__ = ["Credentials", "IscsiSettings", "IscsiTransport", "open_iscsi", "stow"]
