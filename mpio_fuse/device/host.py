"""What discovery asks of this host's kernel, so that it can be asked of something else in a test."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from mpio_fuse.device.claim import MountpointOf, in_use, in_use_beside_daemons, untold
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

    def all_nodes(self) -> Mapping[str, SgNode]:
        """What the kernel says of every sg node, by device node, whether that exists below /dev or not."""
        ...

    async def in_use(self, block_device: str) -> str | None:
        """Who uses that disk."""
        ...

    async def in_use_beside_daemons(self, block_device: str) -> str | None:
        """Who uses that disk, if it is not another ``mpio-fuse mount``."""
        ...


@attrs.frozen
class ThisHost:
    """`Host`, as the kernel shows it.  ``mountpoint_of`` knows the daemons."""

    roots: HostRoots = attrs.Factory(HostRoots)
    mountpoint_of: MountpointOf = untold

    def scan(self) -> list[str]:
        return [str(self.roots.dev / name) for name in Sysfs(self.roots.sys).sg_names()]

    def node(self, device_node: str) -> SgNode | None:
        sysfs = Sysfs(self.roots.sys)
        name = sysfs.sg_name_of(device_node)
        return sysfs.sg_node(name) if name else None

    def all_nodes(self) -> dict[str, SgNode]:
        sysfs = Sysfs(self.roots.sys)
        nodes = {str(self.roots.dev / name): sysfs.sg_node(name) for name in sysfs.sg_names()}
        return {device: node for device, node in nodes.items() if node is not None}

    async def in_use(self, block_device: str) -> str | None:
        return await in_use(block_device, self.roots, self.mountpoint_of)

    async def in_use_beside_daemons(self, block_device: str) -> str | None:
        return await in_use_beside_daemons(block_device, self.roots)
