"""``mpio-fuse mount`` over an array that answers at once: ``python -m tests.bench.serve_instant mount MOUNTPOINT ...``.

One LUN of `SIZE_BYTES` on the simulated transport.  Reads and writes are answered in the call that sends them and
move nothing, as qemu's null-co does: what is left is our own work for one I/O.  Everything else goes to the model.
"""

import sys
from collections.abc import Sequence

from mpio_fuse.cli import main
from mpio_fuse.daemon import assemble
from mpio_fuse.daemon.config import Config
from mpio_fuse.device.openers import Wrap
from mpio_fuse.device.probe import probe
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.contract import OnEnd
from mpio_fuse.transport.data_phase import data_phase_of
from mpio_fuse.transport.simulated import MAXIMUM_TRANSFER_BYTES, SimulatedTransport
from tests.bench.jobs import SIZE_BYTES
from tests.daemon.serve_simulated import SimulatedAssembly

BLOCK_BYTES = 512

_GOOD = Completion()
_DATA = frozenset((OpCode.READ_10, OpCode.READ_16, OpCode.WRITE_10, OpCode.WRITE_16))


class _Done:
    def abandon(self) -> None:
        """It is over."""


_DONE = _Done()


class InstantTransport(SimulatedTransport):
    """Answers reads and writes with GOOD in the call that starts them."""

    def start(self, command: Command, on_end: OnEnd) -> "_Done | None":
        if command.cdb[0] not in _DATA:
            return None
        data_phase_of(command, MAXIMUM_TRANSFER_BYTES)
        on_end(_GOOD)
        return _DONE


async def _assemble(
    nodes: Sequence[str], _config: Config, key: ReservationKey, wrap: Wrap | None = None
) -> SimulatedAssembly:
    """``nodes`` are the underpaths' names."""
    model = LogicalUnitModel(blocks=SIZE_BYTES // BLOCK_BYTES)
    transports = [
        InstantTransport(model, Nexus("iqn.bench", port), name)
        for port, name in enumerate(nodes or ["instant"], 1)
    ]
    unit = await probe(transports[0], timeout_s=10)
    device = PseudoDevice(unit, transports, Settings(key), "disk")
    await device.configure()
    return SimulatedAssembly([device])


if __name__ == "__main__":
    assemble.assemble = _assemble  # type: ignore[assignment] # what the command then imports
    sys.exit(main.run())
