"""What discovery finds: nodes, LUNs, refusals.  Whoever holds a `Discovery` owns the transports of its nodes."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import attrs
import trio

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.probe import Identity
from mpio_fuse.device.sysfs import UNKNOWN, Attachment, SgNode
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.identity import Wwid
from mpio_fuse.transport.contract import Transport


@attrs.frozen(kw_only=True)
class FoundNode:
    """A disk's device node.  ``in_use`` says who on this host uses the disk.

    ``sg_node`` is what the kernel says of it; None for what is no node, such as a URL.
    """

    device_node: str
    identity: Identity
    sg_node: SgNode | None = None
    in_use: str | None = None

    @property
    def address(self) -> str | None:
        """The kernel's H:C:T:L."""
        return self.sg_node.address if self.sg_node else None

    @property
    def block_device(self) -> str | None:
        """The kernel's name of the disk, as ``sda``; None when no disk driver is bound."""
        return self.sg_node.block_device if self.sg_node else None

    @property
    def attachment(self) -> Attachment:
        return self.sg_node.attachment if self.sg_node else Attachment(UNKNOWN)

    @property
    def transport_kind(self) -> str:
        """``iscsi``, ``fc``, ``sas``, ``tcm_loop``, or the driver's name."""
        return self.attachment.kind


@attrs.frozen(kw_only=True)
class ProbedNode(FoundNode):
    """One underpath of a LUN: what was read over it, and its transport, which is open."""

    logical_unit: LogicalUnit
    transport: Transport = attrs.field(repr=False)


@attrs.frozen
class DiscoveredLun:
    """A logical unit, and all nodes that lead to it, of those looked at."""

    logical_unit: LogicalUnit
    underpaths: tuple[ProbedNode, ...]

    @property
    def wwid(self) -> Wwid:
        return self.logical_unit.wwid


@attrs.frozen
class BusyLun:
    """A logical unit that has a user on this host.  It was asked for its name only, if at all."""

    identity: Identity
    underpaths: tuple[FoundNode, ...]

    @property
    def wwid(self) -> Wwid:
        return self.identity.wwid

    @property
    def in_use(self) -> str:
        """Who uses the disk, through whichever nodes: ``sda is mounted on /srv``."""
        return ", ".join(
            f"{one.block_device} is {one.in_use}" for one in self.underpaths if one.in_use
        )


@attrs.frozen
class Refusal:
    """A node that will not be served, and why."""

    device_node: str
    error: MpioError
    is_named: bool

    @property
    def reason(self) -> str:
        """What is wrong, and what to do: one line without the node's name."""
        return f"{self.error.what}; {self.error.hint}" if self.error.hint else self.error.what


@attrs.frozen
class Discovery:
    """What was found.  ``in_use`` are LUNs that have a user on this host; their nodes are in ``refused`` too."""

    luns: tuple[DiscoveredLun, ...]
    in_use: tuple[BusyLun, ...]
    refused: tuple[Refusal, ...]

    def raise_for_named(self) -> None:
        """Raise for nodes that were asked for by name and refused.

        Raises:
            MpioError: one such node, or several for one and the same reason.
            ExceptionGroup: several.
        """
        errors = _by_reason(refusal for refusal in self.refused if refusal.is_named)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("devices refused", errors)

    async def aclose(self) -> None:
        """Close all transports.  May be repeated."""
        for lun in self.luns:
            await close_all(lun.underpaths)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _by_reason(refusals: Iterable[Refusal]) -> list[MpioError]:
    """The errors, with all the nodes of a LUN that one reason refuses in one of them."""
    nodes: dict[tuple[str | None, str], list[Refusal]] = {}
    for refusal in refusals:
        nodes.setdefault((refusal.error.lun, refusal.reason), []).append(refusal)
    errors = []
    for same in nodes.values():
        first = same[0].error
        names = ", ".join(refusal.device_node for refusal in same)
        error = MpioError(first.what, lun=first.lun, underpath=names, hint=first.hint)
        error.errno = first.errno
        errors.append(error if first.lun and len(same) > 1 else first)
        errors.extend(refusal.error for refusal in same[1:] if not first.lun)
    return errors


async def close_all(nodes: Iterable[FoundNode]) -> None:
    """Close the transports of those that have one, also when cancelled."""
    with trio.CancelScope(shield=True):
        for node in nodes:
            if isinstance(node, ProbedNode):
                await node.transport.aclose()
