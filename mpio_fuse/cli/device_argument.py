"""DEVICE... on the command line."""

import click

from mpio_fuse.errors import UsageError
from mpio_fuse.transport.iscsi import stow


def named_devices(
    _context: click.Context, _parameter: click.Parameter, devices: tuple[str, ...]
) -> tuple[str, ...]:
    """The names without what is secret in them: a callback for click.

    An empty name must not get further: it would be the working directory's.  Nor may the password of an ``iscsi://``
    URL, which would be in every message and in the daemon's command line.

    Raises:
        UsageError: one is empty, or no good URL.
    """
    if not all(devices):
        raise UsageError("a DEVICE is empty", hint="name a node such as /dev/sg3")
    return tuple(stow(device) for device in devices)
