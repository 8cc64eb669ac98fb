"""Mount memory devices: ``python -m tests.fs.serve_memory MOUNTPOINT NAME=SIZE_BYTES...``.

Says ``ready`` once the tree is usable.  Each line of standard input is done and answered: ``fence NAME`` fences a
device, ``take NAME`` also fails its files from before, ``reserve NAME`` gives it to another host, ``asked NAME``
gives what was asked of it since, as JSON.  The end of standard input unmounts.
"""

import json
import os
import sys
import time
from typing import cast

import pyfuse3
import structlog
import trio

from mpio_fuse.fs.attributes import Attributes, Ownership
from mpio_fuse.fs.filesystem import FileSystem
from mpio_fuse.fs.namespace import DeviceFile, Namespace
from mpio_fuse.fs.operations import (
    MAXIMUM_TASKS,
    MINIMUM_IDLE_TASKS,
    Operations,
    mount_options,
)
from tests.fs.memory_device import MemoryDevice


class Asked(FileSystem):
    """One that notes on the device when the kernel asks for a file's attributes."""

    def getattr(self, inode: int) -> Attributes:
        node = self.namespace.node(inode)
        if isinstance(node, DeviceFile):
            cast("MemoryDevice", node.device).asked.append(("getattr",))
        return super().getattr(inode)


def _answer(line: str, devices: dict[str, MemoryDevice]) -> str:
    verb, name = line.split()
    device = devices[name]
    if verb == "fence":
        device.fence()
        return "fenced"
    if verb == "take":
        device.take()
        return "taken"
    if verb == "reserve":
        device.is_foreign = True
        return "reserved"
    asked, device.asked = device.asked, []
    return json.dumps([[str(part) for part in one] for one in asked])


async def _obey(devices: dict[str, MemoryDevice]) -> None:
    print("ready", flush=True)  # noqa: T201 - the protocol
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        print(_answer(line, devices), flush=True)  # noqa: T201 - the protocol
    pyfuse3.terminate()


async def _serve(fs: FileSystem, devices: dict[str, MemoryDevice]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fs.drop_stale_caches)
        nursery.start_soon(_obey, devices)
        await pyfuse3.main(MINIMUM_IDLE_TASKS, MAXIMUM_TASKS)
        nursery.cancel_scope.cancel()


def main(mountpoint: str, *named_sizes: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    pairs = [text.split("=") for text in named_sizes]
    devices = {name: MemoryDevice(name, int(size)) for name, size in pairs}
    ownership = Ownership(mode=0o600, uid=os.getuid(), gid=os.getgid())
    fs = Asked(Namespace(devices.values()), ownership=ownership, time_ns=time.time_ns())
    pyfuse3.init(Operations(fs), mountpoint, mount_options(allow_other=False))
    try:
        trio.run(_serve, fs, devices)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
