"""DEVICE... on the command line."""

import click

from mpio_fuse.errors import UsageError


def named_devices(
    _context: click.Context, _parameter: click.Parameter, devices: tuple[str, ...]
) -> tuple[str, ...]:
    """The names as they are: a callback for click.

    An empty name must not get further: it would be the working directory's.

    Raises:
        UsageError: one is empty.
    """
    if not all(devices):
        raise UsageError("a DEVICE is empty", hint="name a node such as /dev/sg3")
    return devices
