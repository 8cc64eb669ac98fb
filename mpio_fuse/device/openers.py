"""How a DEVICE is opened, by the way users write it: a device node, or a URL with a scheme."""

from collections.abc import Awaitable, Callable, Mapping

from mpio_fuse.errors import UsageError
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.iscsi import open_iscsi
from mpio_fuse.transport.sg import open_sg

OpenTransport = Callable[[str], Awaitable[Transport]]

Wrap = Callable[[Transport], Transport]
"""What is put around a transport when it is opened."""


OPENERS: Mapping[str, OpenTransport] = {"": open_sg, "iscsi": open_iscsi}
"""How a DEVICE is opened, by the scheme before its ``://``."""


async def open_device(device: str) -> Transport:
    """Open a DEVICE as users name them, ``/dev/sgN`` or a URL.

    Raises:
        UsageError: nobody knows such a scheme.
        MpioError: it cannot be opened.
    """
    opener = OPENERS.get(scheme_of(device))
    if opener is None:
        hint = "name a device node such as /dev/sg3"
        raise UsageError(
            f"unknown kind of device {scheme_of(device)}://", underpath=device, hint=hint
        )
    return await opener(device)


def opening(wrap: Wrap | None) -> OpenTransport:
    """`open_device`, with something around each transport; None: nothing."""
    if wrap is None:
        return open_device

    async def open_wrapped(device: str) -> Transport:
        return wrap(await open_device(device))

    return open_wrapped


def scheme_of(device: str) -> str:
    """``iscsi`` of ``iscsi://...``; empty for a device node."""
    scheme, separator, _ = device.partition("://")
    return scheme if separator else ""
