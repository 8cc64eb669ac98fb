"""What discovery finds: nodes, LUNs, refusals.  Whoever holds a `Discovery` owns the transports of its nodes."""

import errno
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import attrs
import trio

from mpio_fuse.device.claim import SERVED
from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.portals import attachment_of
from mpio_fuse.device.probe import Identity
from mpio_fuse.device.sysfs import Attachment, SgNode
from mpio_fuse.errors import MpioError, TransportError
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
        return self.sg_node.attachment if self.sg_node else attachment_of(self.device_node)

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
        """Who uses the disk, through whichever nodes: ``sda is mounted on /srv``.  A user of several is told once."""
        disks: dict[str, list[str]] = {}
        for one in self.underpaths:
            if one.in_use:
                disks.setdefault(one.in_use, []).append(str(one.block_device))
        return ", ".join(_use(names, user) for user, names in disks.items())


@attrs.frozen
class Refusal:
    """A node that will not be served, and why."""

    device_node: str
    error: MpioError
    is_named: bool

    @property
    def is_unreachable(self) -> bool:
        """Whether there is a device behind the node, but no answer from it now."""
        no_node = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EBUSY}
        return isinstance(self.error.__cause__, TransportError) and self.error.errno not in no_node

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

    @property
    def errors(self) -> list[MpioError]:
        """Why nodes are refused, named or not: one for each LUN and reason."""
        return _by_reason(self.refused)

    def raise_for_unusable(self) -> None:
        """As `raise_for_named`, but a node that does not answer now is forgiven when others lead to a LUN."""
        if not self.luns:
            self.raise_for_named()
        told = [one for one in self.refused if not one.is_unreachable]
        attrs.evolve(self, refused=tuple(told)).raise_for_named()

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
    """The errors, with all the nodes of a LUN that are refused for one reason in one of them."""
    alike: dict[tuple[str, str], list[Refusal]] = {}
    for refusal in refusals:
        whose = refusal.error.lun or refusal.device_node
        alike.setdefault((whose, refusal.reason), []).append(refusal)
    return [_of_all(same) for same in alike.values()]


def _of_all(same: Sequence[Refusal]) -> MpioError:
    """One error for nodes of one LUN that one reason refuses."""
    error = same[0].error
    if len(same) == 1:
        return error
    nodes = ", ".join(refusal.device_node for refusal in same)
    merged = MpioError(error.what, lun=error.lun, underpath=nodes, hint=error.hint)
    merged.errno = error.errno
    return merged


def _use(disks: Sequence[str], user: str) -> str:
    """A mount or a program is told with its disk, a daemon serves the LUN as a whole."""
    if user.startswith(SERVED):
        return user
    return f"{', '.join(disks)} {'is' if len(disks) == 1 else 'are'} {user}"


async def close_all(nodes: Iterable[FoundNode]) -> None:
    """Close the transports of those that have one, also when cancelled."""
    with trio.CancelScope(shield=True):
        for node in nodes:
            if isinstance(node, ProbedNode):
                await node.transport.aclose()
