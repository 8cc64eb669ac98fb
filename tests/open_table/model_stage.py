"""The table's stage in process: the model of the array, as LIO is."""

import attrs

from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.world import World
from tests.open_table.play import Registered


@attrs.define
class ModelStage:
    """A simulated logical unit."""

    world: World = attrs.Factory(lambda: World(LogicalUnitModel(LIO)))
    _transports: dict[str, SimulatedTransport] = attrs.Factory(dict)

    async def transport(self, nexus: str) -> SimulatedTransport:
        address = Nexus(f"iqn.host-{nexus[0]}", int(nexus[1:]))
        made = self._transports[nexus] = SimulatedTransport(self.world.model, address, name=nexus)
        return made

    async def cut(self, nexus: str) -> None:
        self._transports[nexus].link.go_down()

    async def witness(self) -> Registered:
        names = {
            (one.nexus.transport_id, one.nexus.target_port): name
            for name, one in self._transports.items()
        }
        return Registered.of(
            (
                names[one.transport_id, one.relative_target_port],  # type: ignore[index] # it tells whose
                one.key,
                one.type.title if one.type else None,
            )
            for one in self.world.registrants
        )
