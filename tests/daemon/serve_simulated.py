"""``mpio-fuse mount`` over a simulated array: ``python -m tests.daemon.serve_simulated mount MOUNTPOINT ...``.

One LUN with two underpaths, ``a1`` and ``a2``.  DEVICEs named say what the daemon finds: ``ours`` a reservation from
before, ``theirs`` another host's, ``debug`` an array
that has none (scsi_debug), ``tgt`` one that does not tell whose registrations there are.
"""

import sys
from collections.abc import Sequence

import attrs

from mpio_fuse.cli import main
from mpio_fuse.daemon import assemble
from mpio_fuse.daemon.config import Config
from mpio_fuse.daemon.nodes import Nodes
from mpio_fuse.device.host import ThisHost
from mpio_fuse.device.openers import Wrap, open_device
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO, SCSI_DEBUG, TGT
from tests.device.world import KEYS, World


@attrs.define
class SimulatedAssembly:
    devices: list[PseudoDevice]
    left_out: list[MpioError] = attrs.Factory(list)
    warnings: list[str] = attrs.Factory(list)

    @property
    def nodes(self) -> Nodes:
        """There are none to take in."""
        return Nodes(list, open_device, ThisHost())

    async def watch(self) -> None:
        """Nothing fails here."""

    async def aclose(self) -> list[Exception]:
        for device in self.devices:
            await device.remove()
        return []


async def _assemble(
    nodes: Sequence[str], config: Config, key: ReservationKey, wrap: Wrap | None = None
) -> SimulatedAssembly:
    quirks = SCSI_DEBUG if "debug" in nodes else TGT if "tgt" in nodes else LIO
    world = World(LogicalUnitModel(quirks))
    host = await world.host("a")
    if "ours" in nodes:
        await (await host.device.open(OpenOption.RETAIN_RESERVATION)).aclose()
    if "theirs" in nodes:
        await (await world.host("b")).device.open()
    old = host.device
    name = config.lun(str(old.logical_unit.wwid)).alias or "disk"
    transports = [wrap(one) if wrap else one for one in host.transports]
    device = PseudoDevice(old.logical_unit, transports, Settings(KEYS["a"]), name)
    await device.configure()
    return SimulatedAssembly([device])


if __name__ == "__main__":
    assemble.assemble = _assemble  # type: ignore[assignment] # what the command then imports
    sys.exit(main.run())
