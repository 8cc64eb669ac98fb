"""What discovery finds: nodes, LUNs, refusals.  Whoever holds a `Discovery` owns the transports of its nodes."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import attrs
import trio

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.sysfs import Attachment
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.identity import Wwid
from mpio_fuse.transport.contract import Transport


@attrs.frozen
class ProbedNode:
    """One underpath of a LUN, with its transport open.

    ``address`` is the kernel's H:C:T:L and ``block_device`` its name of the disk (``sda``), None where there is none.
    ``in_use`` says who on this host uses that disk.
    """

    device_node: str
    logical_unit: LogicalUnit
    transport: Transport = attrs.field(repr=False)
    address: str | None = None
    block_device: str | None = None
    attachment: Attachment = attrs.Factory(lambda: Attachment("unknown"))
    in_use: str | None = None

    @property
    def transport_kind(self) -> str:
        """``iscsi``, ``fc``, ``sas``, ``tcm_loop``, or the driver's name."""
        return self.attachment.kind


@attrs.frozen
class DiscoveredLun:
    """A logical unit and all nodes that lead to it, of those looked at."""

    logical_unit: LogicalUnit
    underpaths: tuple[ProbedNode, ...]

    @property
    def wwid(self) -> Wwid:
        return self.logical_unit.wwid

    @property
    def in_use(self) -> str | None:
        """Who uses the disk on this host, through whichever node."""
        return next(
            (f"{one.block_device} is {one.in_use}" for one in self.underpaths if one.in_use), None
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


@attrs.define
class Discovery:
    """What was found.  ``in_use`` are LUNs that were recognised but have a user: their nodes are refused too."""

    luns: tuple[DiscoveredLun, ...]
    in_use: tuple[DiscoveredLun, ...]
    refused: tuple[Refusal, ...]

    def raise_for_named(self) -> None:
        """Raise for nodes that were asked for by name and refused.

        Raises:
            MpioError: one such node.
            ExceptionGroup: several.
        """
        errors = [refusal.error for refusal in self.refused if refusal.is_named]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("devices refused", errors)

    async def aclose(self) -> None:
        """Close all transports.  May be repeated."""
        for lun in (*self.luns, *self.in_use):
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


async def close_all(nodes: Iterable[ProbedNode]) -> None:
    """Close the transports, also when cancelled."""
    with trio.CancelScope(shield=True):
        for node in nodes:
            await node.transport.aclose()
