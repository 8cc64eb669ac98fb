"""How open(2) flags reach a reserve procedure.

AIX passes the options in the fourth argument of ``openx``; Linux has no such call.  Its FUSE hands
a file system only some flags (not O_EXCL, O_CREAT, O_NOCTTY, O_CLOEXEC), and of those it does, these four mean
nothing on a disk and are not set by accident.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve.fig07_decision import OpenOption

FLAG_OPTIONS: Mapping[int, OpenOption] = MappingProxyType(
    {
        # "Open without claiming the medium" on Linux's own block devices; probers such as blkid set it.
        os.O_NONBLOCK: OpenOption.NO_RESERVE,
        # Harmless elsewhere, and the kernel lets only the file's owner set it.
        os.O_NOATIME: OpenOption.RETAIN_RESERVATION,
        # O_EXCL would be the natural one, but never arrives.
        os.O_NOFOLLOW: OpenOption.SINGLE,
        # No program sets it on a disk by accident.
        os.O_ASYNC: OpenOption.FORCED_OPEN,
    }
)

MAPPABLE_FLAGS: Mapping[str, int] = MappingProxyType(
    {
        name: getattr(os, name)
        for name in (
            "O_ASYNC",
            "O_DIRECT",
            "O_DSYNC",
            "O_NOATIME",
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "O_SYNC",
            "O_TRUNC",
        )
    }
)
"""The flags that reach a FUSE file system and may stand for options; whatever else they mean, they go on to mean.

O_APPEND reaches it too, but an open with it is refused.
"""

_NAMES = {flag: name for name, flag in MAPPABLE_FLAGS.items()}

DURABLE_FLAGS = os.O_SYNC | os.O_DSYNC


@attrs.frozen
class OpenRequest:
    """What an open asks for.

    ``durable``: each write is on the medium before it returns.  ``uncached``: it goes past the page cache.
    ``spelt`` are the flags that stand for the options.
    """

    options: OpenOption
    durable: bool
    spelt: tuple[str, ...] = ()
    uncached: bool = False


def open_request(flags: int, table: Mapping[int, OpenOption] = FLAG_OPTIONS) -> OpenRequest:
    """Decode open(2) flags.  O_TRUNC says nothing here, as on a block device: ``dd of=`` sets it.

    Raises:
        UsageError: O_APPEND, which has no meaning on a file that cannot grow.
    """
    if flags & os.O_APPEND:
        raise UsageError("a LUN cannot be appended to", hint="open it without O_APPEND")
    options = OpenOption.DEFAULT
    spelt = []
    for flag, option in table.items():
        if flags & flag == flag:  # O_SYNC has two bits, and O_DSYNC is one of them
            options |= option
            spelt.append(_NAMES.get(flag, hex(flag)))
    is_durable, is_uncached = bool(flags & DURABLE_FLAGS), bool(flags & os.O_DIRECT)
    return OpenRequest(options, is_durable, tuple(sorted(spelt)), is_uncached)
