"""What discovery asks of this host's kernel, so that it can be asked of something else in a test."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from mpio_fuse.device.claim import in_use
from mpio_fuse.device.sysfs import SgNode, Sysfs
from mpio_fuse.device.users import HostRoots


class Host(Protocol):
    """What discovery asks of the host's kernel."""

    def scan(self) -> Sequence[str]:
        """All sg device nodes."""
        ...

    def node(self, device_node: str) -> SgNode | None:
        """What the kernel says of a device node; None if it is no sg node."""
        ...

    async def in_use(self, block_device: str) -> str | None:
        """Who uses that disk."""
        ...


@attrs.frozen
class ThisHost:
    """`Host`, as the kernel shows it."""

    roots: HostRoots = attrs.Factory(HostRoots)

    def scan(self) -> list[str]:
        return [str(self.roots.dev / name) for name in Sysfs(self.roots.sys).sg_names()]

    def node(self, device_node: str) -> SgNode | None:
        sysfs = Sysfs(self.roots.sys)
        name = sysfs.sg_name_of(device_node)
        return sysfs.sg_node(name) if name else None

    async def in_use(self, block_device: str) -> str | None:
        return await in_use(block_device, self.roots)
