"""Device nodes of served LUNs that are taken in and out while they are mounted: by request, or as they come and go.

A node is looked at as at mount time (identity, other users of its disk on this host), claimed, and then handed to the
device, which registers it before it is used.  Which LUN it belongs to is what it says itself.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import structlog
import trio

from mpio_fuse.device.claim import Claim
from mpio_fuse.device.discovered import DiscoveredLun, ProbedNode
from mpio_fuse.device.discovery import discover
from mpio_fuse.device.host import Host
from mpio_fuse.device.openers import OpenTransport
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.underpath import UnderpathState
from mpio_fuse.errors import MpioError

log = structlog.get_logger(__name__)

DISK_POLL_S = 0.1
DISK_WAIT_S = 5.0
"""How long the kernel may take to bind its disk driver to a node that has just appeared."""


class NodeLun(Protocol):
    """A served LUN, as far as its nodes go.  ``disks`` are the kernel's disks claimed for it, by underpath."""

    device: PseudoDevice
    claim: Claim
    disks: dict[str, str]


@attrs.define(eq=False)
class Nodes:
    """``luns`` tells those that are served now; ``named`` are the nodes that were mounted by name, if any were."""

    luns: Callable[[], Sequence[NodeLun]]
    open_transport: OpenTransport
    host: Host
    named: frozenset[str] = frozenset()
    _changing: trio.Lock = attrs.Factory(trio.Lock)
    _gone: set[str] = attrs.Factory(set)
    """Underpaths whose nodes vanished, and that did not come back under their names."""

    _initiators: dict[str, str | None] = attrs.Factory(dict)
    """Remembered: the kernel says nothing of a node that is gone."""

    async def add(self, device_node: str, lun: str | None = None) -> str:
        """Take a node in, of the LUN named or of whichever it leads to; that LUN's name.

        Raises:
            MpioError: it cannot be used, or leads to no LUN, or another one, that is served here.
        """
        async with self._changing:
            if any(_uses(one, device_node) for one in self.luns()):
                raise MpioError("is an underpath already", underpath=device_node)
            found = await discover(
                [device_node], open_transport=self.open_transport, host=self.host
            )
            try:
                found.raise_for_named()
                served = self._served(found.luns[0], device_node, lun)
                self._require_our_initiator(served, device_node)
                node = found.luns[0].underpaths[0]
                if node.block_device is not None:
                    await served.claim.add(node.block_device)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await found.aclose()
                raise
            await self._take_in(served, node)
            self._gone.discard(device_node)
            return served.device.name

    async def _take_in(self, served: NodeLun, node: ProbedNode) -> None:
        disk = node.block_device
        try:
            await served.device.add_underpath(node.transport)
        except BaseException:
            if disk is not None and disk not in served.disks.values():
                served.claim.drop(disk)
            raise
        if disk is not None:
            served.disks[node.transport.name] = disk

    async def remove(self, device_node: str, lun: str | None = None) -> str:
        """Take a node out; the LUN's name.

        Raises:
            MpioError: it is no underpath of that LUN, or of any, or the last one of an open disk.
        """
        async with self._changing:
            for served in self.luns():
                names = {one.name for one in served.device.underpaths}
                if device_node in names and (lun is None or _is_called(served, lun)):
                    await served.device.remove_underpath(device_node)
                    disk = served.disks.pop(device_node, None)
                    if disk is not None and disk not in served.disks.values():
                        served.claim.drop(disk)
                    return served.device.name
        hint = "'mpio-fuse status' shows which there are"
        raise MpioError("no such underpath", lun=lun, underpath=device_node, hint=hint)

    def _served(self, found: DiscoveredLun, device_node: str, lun: str | None) -> NodeLun:
        wwid = str(found.wwid)
        for served in self.luns():
            if str(served.device.logical_unit.wwid) == wwid:
                if lun is None or _is_called(served, lun):
                    return served
                hint = f"it is an underpath of {served.device.name}"
                raise MpioError(f"leads to {wwid}", lun=lun, underpath=device_node, hint=hint)
        hint = "mount it first: an underpath can only be added to a LUN that is served"
        raise MpioError(
            f"leads to {wwid}, which is not served here", underpath=device_node, hint=hint
        )

    def _require_our_initiator(self, served: NodeLun, device_node: str) -> None:
        """Another initiator's nexus may be registered under another host's key, which ours would replace.

        Raises:
            MpioError: the node is of another initiator than the underpaths that the LUN has.
        """
        ours = {self._initiator(one.name) for one in served.device.underpaths} - {None}
        theirs = self._initiator(device_node)
        if ours and theirs is not None and theirs not in ours:
            names = ", ".join(sorted(one for one in ours if one))
            what = f"is a node of initiator {theirs}, and the LUN is served over {names}"
            raise MpioError(what, lun=served.device.name, underpath=device_node)

    def _initiator(self, device_node: str) -> str | None:
        """The iSCSI initiator name: one host has one.  Port names of other transports differ between its adapters."""
        node = self.host.node(device_node)
        if node is not None and node.attachment.kind == "iscsi":
            self._initiators[device_node] = node.attachment.ends.get("initiator")
        return self._initiators.get(device_node)

    def _replaces_one(self, device_node: str) -> bool:
        """Whether an underpath of the same initiator is gone: it may have come back under another name."""
        theirs = self._initiator(device_node)
        lost = {
            underpath.name
            for served in self.luns()
            for underpath in served.device.underpaths
            if underpath.state is UnderpathState.REMOVED
        }
        return theirs is not None and theirs in {self._initiator(one) for one in lost | self._gone}

    # -- as nodes come and go

    async def appeared(self, device_node: str) -> None:
        """A node is there: one of a LUN that is served is taken in, if it may be.

        Where nodes were named, one of another name is taken in only for one that is gone.
        """
        await self._await_disk(device_node)
        is_known = not self.named or device_node in self.named | self._gone
        if not is_known and not self._replaces_one(device_node):
            return
        try:
            name = await self.add(device_node)
        except (MpioError, ExceptionGroup) as error:
            log.info("node left alone", underpath=device_node, cause=str(error))
        else:
            log.warning("underpath added", lun=name, underpath=device_node)

    async def _await_disk(self, device_node: str) -> None:
        """Without the kernel's disk nothing could be claimed, and somebody might mount it a moment later."""
        with trio.move_on_after(DISK_WAIT_S):
            while not self._has_disk(device_node):  # noqa: ASYNC110 - nobody tells when its driver is bound
                await trio.sleep(DISK_POLL_S)

    def _has_disk(self, device_node: str) -> bool:
        node = self.host.node(device_node)
        return node is not None and node.block_device is not None

    async def vanished(self, device_node: str) -> None:
        """A node is gone: so is the underpath, if another is left."""
        if any(_uses(one, device_node) for one in self.luns()):
            self._initiator(device_node)
            self._gone.add(device_node)
        try:
            name = await self.remove(device_node)
        except MpioError as error:
            log.info("node not removed", underpath=device_node, cause=str(error))
        else:
            log.warning("underpath removed", lun=name, underpath=device_node, cause="node is gone")


def _uses(served: NodeLun, device_node: str) -> bool:
    """Whether it is an underpath that is not out of service for good: such a one makes way."""
    return any(
        one.name == device_node and one.state is not UnderpathState.REMOVED
        for one in served.device.underpaths
    )


def _is_called(served: NodeLun, lun: str) -> bool:
    return lun in (served.device.name, str(served.device.logical_unit.wwid))
