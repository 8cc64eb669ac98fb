"""Finds the LUNs of this host: which device nodes are disks, which of them are the same disk, which may be served.

Theory of operation
-------------------
Each node is looked at by itself, many at once, each within a time of its own, so that a node that hangs costs
nothing but its own time.  What comes out of it is a node or a `Refusal`.  A node whose disk has a user on this host
is asked for its identity only: other questions would take unit attentions away from that user.  Then, without
any more waiting:

1. Nodes are grouped by the identity they gave.
2. The nodes of a group must agree on what they lead to.  If two contradict each other, one identity has been
   given to two disks, and nobody can tell which node leads where: all of the group are refused.
3. A group of which any node's disk is in use on this host is refused: the user reaches the same blocks.  That
   includes the LUN's other disks, which nobody named, or which do not answer: the kernel's own copy of page 0x83
   tells which they are, without a command.  Of those a claim by another daemon of ours does not count: two
   daemons that were given different nodes of a LUN are two hosts in one kernel.

Nodes that were named are errors when they are refused, those found by a scan are notes; whoever calls decides with
`Discovery.raise_for_named` or `Discovery.raise_for_unusable`.

A `Discovery` owns the transports of its LUNs until it is closed.  Those of refused nodes are closed before it exists.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs
import trio

from mpio_fuse.device.agreement import agreed_logical_unit
from mpio_fuse.device.discovered import (
    BusyLun,
    DiscoveredLun,
    Discovery,
    FoundNode,
    ProbedNode,
    Refusal,
    close_all,
)
from mpio_fuse.device.host import Host, ThisHost
from mpio_fuse.device.openers import OpenTransport, open_device, scheme_of
from mpio_fuse.device.portals import listed
from mpio_fuse.device.probe import Identity, identify, not_a_disk, probe
from mpio_fuse.device.sysfs import SgNode
from mpio_fuse.errors import MpioError, TransportError
from mpio_fuse.scsi.inquiry import DeviceType
from mpio_fuse.transport.contract import Transport

NODE_TIMEOUT_S = 15.0
"""For everything about one node.  A session that is being replaced stalls commands for 5 s."""

CONCURRENT_NODES = 16


async def discover(
    devices: Sequence[str] | None = None,
    *,
    open_transport: OpenTransport = open_device,
    host: Host | None = None,
    timeout_s: float = NODE_TIMEOUT_S,
) -> Discovery:
    """Look at the DEVICEs named, or at all sg nodes when ``devices`` is None or empty.

    Never raises for what a node does.  ``async with await discover() as found:`` closes it.
    """
    finder = _Finder(host or ThisHost(), open_transport, timeout_s, is_named=bool(devices))
    try:
        await finder.look_at_all(devices or finder.host.scan())
        return await finder.sorted_out()
    except BaseException:
        await close_all(finder.nodes.values())
        raise


@attrs.define
class _Finder:
    """One discovery under way: ``nodes`` and ``refused`` by device, in whatever order they answer."""

    host: Host
    open_transport: OpenTransport
    timeout_s: float
    is_named: bool
    nodes: dict[str, FoundNode] = attrs.Factory(dict)
    refused: dict[str, Refusal] = attrs.Factory(dict)
    listed: set[str] = attrs.Factory(set)

    async def look_at_all(self, devices: Sequence[str]) -> None:
        limit = trio.CapacityLimiter(CONCURRENT_NODES)
        single = [one for device in devices for one in await self._behind(device)]
        async with trio.open_nursery() as nursery:
            for device, node in self._different(single):
                nursery.start_soon(self._look_at, device, node, limit)

    async def _behind(self, device: str) -> Sequence[str]:
        """A DEVICE by itself, or what a portal leads to: found there, not named."""
        with trio.move_on_after(self.timeout_s):
            found = await listed(device, self._refuse)
            self.listed.update(found or ())
            return [device] if found is None else found
        self._refuse(device, TransportError("no list of targets in time", underpath=device))
        return ()

    def _different(self, devices: Sequence[str]) -> list[tuple[str, SgNode | None]]:
        """Each device once, by the first of its names: one nexus must not become two underpaths."""
        found: dict[str, tuple[str, SgNode | None]] = {}
        for device in devices:
            node = None if scheme_of(device) else self.host.node(device)
            found.setdefault(node.name if node else device, (device, node))
        return list(found.values())

    async def _look_at(self, device: str, node: SgNode | None, limit: trio.CapacityLimiter) -> None:
        async with limit:
            with trio.move_on_after(self.timeout_s) as scope:
                await self._try(device, node)
        if scope.cancelled_caught:
            what, hint = (
                f"no answer within {self.timeout_s:g} s",
                "check its link, session and target",
            )
            self._refuse(device, TransportError(what, underpath=device, hint=hint))

    async def _try(self, device: str, node: SgNode | None) -> None:
        try:
            if node is not None and node.device_type not in {None, DeviceType.DISK}:
                raise not_a_disk(node.device_type or 0, device)
            self.nodes[device] = await self._found(device, node)
        except MpioError as error:
            self._refuse(device, error)

    async def _found(self, device: str, node: SgNode | None) -> FoundNode:
        """What is behind the device.  Only a `ProbedNode`'s transport is open still."""
        transport = await self.open_transport(device)
        try:
            if node is None and not scheme_of(device):
                raise _unknown_to_the_kernel(device)
            disk = node.block_device if node else None
            user = await self.host.in_use(disk) if disk else None
            found = await self._asked(device, node, user, transport)
        except BaseException:
            await _close(transport)
            raise
        if not isinstance(found, ProbedNode):
            await _close(transport)
        return found

    async def _asked(
        self, device: str, node: SgNode | None, user: str | None, transport: Transport
    ) -> FoundNode:
        if user is not None:
            identity = await identify(transport, timeout_s=self.timeout_s)
            return FoundNode(device_node=device, identity=identity, sg_node=node, in_use=user)
        logical_unit = await probe(transport, timeout_s=self.timeout_s)
        return ProbedNode(
            device_node=device,
            identity=Identity.of(logical_unit),
            sg_node=node,
            logical_unit=logical_unit,
            transport=transport,
        )

    async def sorted_out(self) -> Discovery:
        """Group what was found, and refuse what cannot be served."""
        luns: list[DiscoveredLun] = []
        busy: list[BusyLun] = []
        others = self._others()
        for nodes in self._by_wwid():
            users = await self._users_beside(nodes[0].identity, others)
            if users or any(node.in_use for node in nodes):
                await close_all(nodes)
                busy.append(BusyLun(nodes[0].identity, (*nodes, *users)))
                self._refuse_all(nodes, _busy(busy[-1]))
            elif lun := await self._one_lun([one for one in nodes if isinstance(one, ProbedNode)]):
                luns.append(lun)
        refused = sorted(self.refused.values(), key=lambda one: _in_order(one.device_node))
        return Discovery(tuple(luns), tuple(busy), tuple(refused))

    async def _one_lun(self, nodes: Sequence[ProbedNode]) -> DiscoveredLun | None:
        try:
            logical_unit = agreed_logical_unit(
                [(one.device_node, one.logical_unit) for one in nodes]
            )
        except MpioError as error:
            await close_all(nodes)
            self._refuse_all(nodes, error)
            return None
        return DiscoveredLun(logical_unit, tuple(nodes))

    def _others(self) -> dict[str, SgNode]:
        """The disks of this host that were not looked at, or gave no answer."""
        looked_at = {one.sg_node.name for one in self.nodes.values() if one.sg_node}
        every = self.host.all_nodes().items()
        return {device: node for device, node in every if node.name not in looked_at}

    async def _users_beside(
        self, identity: Identity, others: Mapping[str, SgNode]
    ) -> list[FoundNode]:
        """Those of the other disks that are this LUN too, and have a user whom we would write under."""
        users = []
        for device, node in others.items():
            if node.block_device is None or node.wwid != identity.wwid:
                continue
            if user := await self.host.in_use_beside_daemons(node.block_device):
                users.append(
                    FoundNode(device_node=device, identity=identity, sg_node=node, in_use=user)
                )
        return users

    def _by_wwid(self) -> list[list[FoundNode]]:
        groups: dict[str, list[FoundNode]] = {}
        for node in sorted(self.nodes.values(), key=lambda one: _in_order(one.device_node)):
            groups.setdefault(str(node.identity.wwid), []).append(node)
        return list(groups.values())

    def _refuse_all(self, nodes: Iterable[FoundNode], error: MpioError) -> None:
        for node in nodes:
            self._refuse(node.device_node, error)

    def _refuse(self, device: str, error: MpioError) -> None:
        named = MpioError(error.what, lun=error.lun, underpath=device, hint=error.hint)
        named.errno = error.errno
        named.__cause__ = error
        is_named = self.is_named and device not in self.listed
        self.refused[device] = Refusal(device, named, is_named)


def _unknown_to_the_kernel(device: str) -> MpioError:
    what = "not in /sys/class/scsi_generic, so nobody can tell whether its disk is in use"
    return MpioError(what, underpath=device, hint="is /sys mounted here?")


def _busy(lun: BusyLun) -> MpioError:
    hint = "end that use first, or leave this LUN out"
    return MpioError(f"in use on this host: {lun.in_use}", lun=str(lun.wwid), hint=hint)


def _in_order(device: str) -> tuple[int, str]:
    """``/dev/sg2`` before ``/dev/sg10``."""
    return len(device), device


async def _close(transport: Transport) -> None:
    with trio.CancelScope(shield=True):
        await transport.aclose()
