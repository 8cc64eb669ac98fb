"""Tells `Nodes` of device nodes that come and go, as the kernel does or, where it runs, udev.

udev is preferred, because it tells only after it has set a node's permissions; without it (a container, an initramfs,
the lab) the kernel's own events have to do.  An event that was missed is no harm: a node that is gone is noticed by
the next command, and ``mpio-fuse underpath add`` takes a new one in.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import attrs
import pyudev
import structlog
import trio

from mpio_fuse.daemon.nodes import Nodes

log = structlog.get_logger(__name__)

UDEV_IS_RUNNING = Path("/run/udev/control")


@attrs.frozen
class NodeEvent:
    """``action``: what happened to the sg node."""

    action: Literal["add", "remove"]
    device_node: str


NextEvents = Callable[[], Awaitable[list[NodeEvent]]]


async def follow(nodes: Nodes, next_events: NextEvents | None) -> None:
    """Act on events for ever, each node beside the others; nothing where there are none."""
    if next_events is None:
        return
    async with trio.open_nursery() as nursery:
        while True:
            for event in await next_events():
                act = nodes.appeared if event.action == "add" else nodes.vanished
                nursery.start_soon(act, event.device_node)


def kernel_events() -> NextEvents | None:
    """What happens to sg nodes from now on; None where this host does not tell."""
    source = "udev" if UDEV_IS_RUNNING.exists() else "kernel"
    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=source)
        monitor.filter_by("scsi_generic")
        monitor.start()
    except (OSError, ImportError) as error:
        log.info("no events of device nodes", cause=str(error))
        return None

    async def next_events() -> list[NodeEvent]:
        await trio.lowlevel.wait_readable(monitor.fileno())
        found = []
        while (device := monitor.poll(timeout=0)) is not None:
            if device.action in {"add", "remove"} and device.device_node:
                found.append(NodeEvent(device.action, device.device_node))
        return found

    return next_events
