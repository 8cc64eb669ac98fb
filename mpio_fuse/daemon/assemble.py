"""From device nodes to devices that can be served: discovery, the exclusive claims, Figure 5 for every underpath.

A LUN that cannot be served is left out by name, and the others go on; only when none is left does it all fail.
"""

from collections.abc import Sequence

import attrs
import structlog
import trio

from mpio_fuse.daemon.config import Config, LunConfig
from mpio_fuse.daemon.hotplug import follow, kernel_events
from mpio_fuse.daemon.mountpoint_of import mountpoint_of
from mpio_fuse.daemon.nodes import Nodes
from mpio_fuse.daemon.single_path_words import mixed
from mpio_fuse.device.claim import Claim
from mpio_fuse.device.discovered import DiscoveredLun, Discovery
from mpio_fuse.device.discovery import discover
from mpio_fuse.device.host import ThisHost
from mpio_fuse.device.key_claim import KeyClaim
from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.openers import Wrap, opening
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.reservation_key import ReservationKey

log = structlog.get_logger(__name__)


@attrs.define(eq=False)
class ServedLun:
    """A device with its claims: on the kernel's disks of the same LUN, and on the LUN under our key."""

    device: PseudoDevice
    claim: Claim
    key_claim: KeyClaim
    disks: dict[str, str] = attrs.Factory(dict)
    """The kernel's disks that are claimed, by underpath."""

    async def aclose(self) -> None:
        """Figure 6, then let others have the LUN."""
        try:
            await self.device.remove()
        finally:
            self.claim.close()
            self.key_claim.close()


@attrs.define(eq=False)
class Assembled:
    """``left_out`` are the errors of LUNs and nodes that will not be served, ``warnings`` what else is to be told."""

    nodes: Nodes
    luns: list[ServedLun] = attrs.Factory(list)
    left_out: list[MpioError] = attrs.Factory(list)
    warnings: list[str] = attrs.Factory(list)
    check_interval_s: float = 5.0

    @property
    def devices(self) -> list[PseudoDevice]:
        return [lun.device for lun in self.luns]

    async def watch(self) -> None:
        """Keep looking after the underpaths; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self.nodes, kernel_events())
            for device in self.devices:
                nursery.start_soon(watch, device, self.check_interval_s)

    async def aclose(self) -> list[Exception]:
        """Take every device out of the registrants, all at once; what failed is returned."""
        failures: list[Exception] = []

        async def close(lun: ServedLun) -> None:
            try:
                await lun.aclose()
            except Exception as failure:  # noqa: BLE001 - the other LUNs must still be closed
                failures.append(failure)

        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for lun in self.luns:
                    nursery.start_soon(close, lun)
        return failures


async def assemble(
    nodes: Sequence[str], config: Config, key: ReservationKey, wrap: Wrap | None = None
) -> Assembled:
    """Find, claim and register the LUNs behind the nodes named, or behind all.

    ``wrap`` is put around every transport that is opened.

    Raises:
        MpioError, ExceptionGroup: a node that was named cannot be served, or no LUN can.
    """
    host = ThisHost(mountpoint_of=mountpoint_of)
    open_transport = opening(wrap)
    found = await discover(nodes, open_transport=open_transport, host=host)
    luns: list[ServedLun] = []
    assembled = Assembled(
        Nodes(lambda: luns, open_transport, host, frozenset(nodes)),
        luns,
        check_interval_s=config.timeouts.check_s,
    )
    try:
        found.raise_for_unusable()
        wanted = [lun for lun in found.luns if str(lun.wwid) not in config.bypass]
        async with trio.open_nursery() as nursery:
            for lun in wanted:
                nursery.start_soon(_serve, lun, config, key, assembled)
        _require_some(found, wanted, assembled)
        assembled.warnings += config.about_none_of(_names(found))
    except BaseException:
        await assembled.aclose()
        with trio.CancelScope(shield=True):
            await found.aclose()
        raise
    assembled.left_out.extend(found.errors)
    return assembled


async def _serve(
    found: DiscoveredLun, config: Config, key: ReservationKey, assembled: Assembled
) -> None:
    """Make one LUN ready; one that cannot be is left out."""
    settings = Settings(
        key,
        config.timeouts.io_s,
        config.timeouts.control_s,
        standby=config.standby,
        serialise_registers=config.serialise_registers,
        underpaths=config.underpath_rules(str(found.wwid)),
        aptpl=config.aptpl,
    )
    about = config.lun(str(found.wwid))
    name = about.alias or str(found.wwid)
    transports = [node.transport for node in found.underpaths]
    try:
        key_claim = KeyClaim.take(name, str(found.wwid), key)
    except MpioError as error:
        _leave_out(name, error, assembled)
        for (
            transport
        ) in transports:  # and no command: to the array we would be the daemon that has it
            await transport.aclose()
        return
    device = PseudoDevice(_unit(found, about), transports, settings, name)
    lun = ServedLun(device, Claim(name), key_claim)
    try:
        for node in found.underpaths:
            if node.block_device is not None:
                await lun.claim.add(node.block_device)
                lun.disks[node.transport.name] = node.block_device
        await lun.device.configure()
    except MpioError as error:
        _leave_out(name, error, assembled)
        await lun.aclose()
    except BaseException:
        await lun.aclose()
        raise
    else:
        assembled.luns.append(lun)
        if about.single_path and found.logical_unit.has_persistent_reserve:
            assembled.warnings.append(await mixed(name, lun.device.reader))


def _leave_out(name: str, error: MpioError, assembled: Assembled) -> None:
    log.warning("LUN left out", lun=name, cause=str(error))
    assembled.left_out.append(error)


def _names(found: Discovery) -> set[str]:
    """The WWIDs of all that was found, usable or not."""
    return {str(one.wwid) for one in found.luns} | {str(one.wwid) for one in found.in_use}


def _unit(found: DiscoveredLun, config: LunConfig) -> LogicalUnit:
    """The logical unit as it is to be treated."""
    unit = found.logical_unit
    return attrs.evolve(unit, has_persistent_reserve=False) if config.single_path else unit


def _require_some(found: Discovery, wanted: Sequence[DiscoveredLun], assembled: Assembled) -> None:
    """Raise what explains best why there is nothing to serve."""
    if assembled.luns:
        return
    if len(assembled.left_out) == 1:
        raise assembled.left_out[0]
    if assembled.left_out:
        raise ExceptionGroup("no LUN can be served", assembled.left_out)
    if found.luns and not wanted:
        raise MpioError("every LUN is in the configuration's bypass list")
    hint = "see 'mpio-fuse discover' for what this host has, and why it is refused"
    raise MpioError("no LUN to serve was found", hint=hint)
