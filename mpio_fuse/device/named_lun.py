"""The one logical unit behind device nodes that somebody names, to speak to it directly.

INQUIRY is all that is asked here: it takes no unit attention from whoever else uses these nexuses.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from mpio_fuse.device.openers import OpenTransport, open_device, scheme_of
from mpio_fuse.device.probe import identify
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import UsageError
from mpio_fuse.transport.contract import Transport

TIMEOUT_S = 15.0


@attrs.frozen
class NamedLun:
    """Its identity, and one underpath for each node named, open."""

    wwid: str
    underpaths: tuple[Underpath, ...]


@asynccontextmanager
async def named_lun(
    devices: Sequence[str], *, open_transport: OpenTransport = open_device
) -> AsyncIterator[NamedLun]:
    """Open the nodes and see that they lead to one disk; closed in the end.

    Raises:
        UsageError: they are of different disks.
        MpioError: one of them cannot be opened, or is no disk.
    """
    transports: list[Transport] = []
    try:
        for device in _different(devices):
            transports.append(await open_transport(device))  # noqa: PERF401 - one by one, to close those
        wwid = await _agreed_wwid(transports)
        underpaths = tuple(Underpath(index, one) for index, one in enumerate(transports))
        yield NamedLun(wwid, underpaths)
    finally:
        with trio.CancelScope(shield=True):
            for transport in transports:
                await transport.aclose()


def _different(devices: Sequence[str]) -> list[str]:
    """Each node once, by the first of its names: one nexus must not be registered twice."""
    found: dict[str, str] = {}
    for device in devices:
        found.setdefault(device if scheme_of(device) else os.path.realpath(device), device)
    return list(found.values())


async def _agreed_wwid(transports: Sequence[Transport]) -> str:
    names = {one.name: str((await identify(one, timeout_s=TIMEOUT_S)).wwid) for one in transports}
    if len(set(names.values())) > 1:
        different = ", ".join(f"{name} is {wwid}" for name, wwid in names.items())
        raise UsageError(f"these are different disks: {different}", hint="name nodes of one LUN")
    return next(iter(names.values()))
