"""What one open of a host means for the others of the same host, before anything is sent (claims 20 and 21)."""

import errno
from collections.abc import Sequence

from mpio_fuse.errors import OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption


def check_local(lun: str, options: OpenOption, opens: Sequence[OpenOption]) -> None:
    """SINGLE excludes all others, with AIX's errors.  ``opens``: the options of the handles that stand.

    Raises:
        OpenRefused: EACCES, it is open SINGLE; EBUSY, SINGLE is asked for and it is open.
    """
    if any(OpenOption.SINGLE in one for one in opens):
        raise OpenRefused("opened by this host as SINGLE", errno.EACCES, lun=lun)
    if OpenOption.SINGLE in options and opens:
        raise OpenRefused("already open on this host", errno.EBUSY, lun=lun)
