"""What discovery and the checkers cost: ``python -m tests.scale [--luns N] [--underpaths N] [--minutes N] [--json]``.

Simulated logical units on trio's virtual clock: the time is the virtual one's, the processor time and the memory are
real.  What a simulated array costs is in the figures too, so they are an upper bound of ours.
"""

import argparse
import gc
import json
import logging
import sys
import time
from pathlib import Path

import attrs
import structlog
import trio
from trio.testing import MockClock

from mpio_fuse.device.discovery import discover
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.sysfs import Attachment, SgNode
from mpio_fuse.device.watch import watch
from mpio_fuse.scsi.identity import Wwid, WwidKind
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import SimulatedTransport

KEY = ReservationKey.from_int(0xA)


@attrs.define
class ManyNodes:
    """A host with a node for every underpath of every logical unit."""

    transports: dict[str, SimulatedTransport]
    nodes: dict[str, SgNode]

    @classmethod
    def of(cls, luns: int, underpaths: int) -> "ManyNodes":
        transports, nodes = {}, {}
        for number in range(luns):
            model = LogicalUnitModel(serial=f"scale{number:05d}")
            for port in range(underpaths):
                name = f"sg{number * underpaths + port}"
                nexus = Nexus("iqn.scale", port + 1)
                transports[f"/dev/{name}"] = SimulatedTransport(model, nexus, f"/dev/{name}")
                nodes[f"/dev/{name}"] = SgNode(
                    name=name,
                    address=f"0:0:{port}:{number}",
                    vendor="ACME",
                    product="Array",
                    device_type=0,
                    block_device=None,
                    attachment=Attachment("simulated"),
                    wwid=Wwid(WwidKind.NAA, model.state.identity.naa),
                )
        return cls(transports, nodes)

    def scan(self) -> list[str]:
        return list(self.nodes)

    def node(self, device_node: str) -> SgNode | None:
        return self.nodes.get(device_node)

    def all_nodes(self) -> dict[str, SgNode]:
        return self.nodes

    async def in_use(self, block_device: str) -> str | None:
        del block_device  # nobody's, whichever it is
        await trio.lowlevel.checkpoint()
        return None

    async def in_use_beside_daemons(self, block_device: str) -> str | None:
        return await self.in_use(block_device)

    async def open(self, device: str) -> SimulatedTransport:
        await trio.lowlevel.checkpoint()
        return self.transports[device]


@attrs.frozen
class Figures:
    """``checks_cpu``: of one processor, while nothing happens."""

    luns: int
    underpaths: int
    discovery_cpu_s: float
    registration_cpu_s: float
    checks_cpu: float
    bytes_per_lun: int


async def measure(luns: int, underpaths: int, minutes: float) -> Figures:
    """Discover, register and watch that many; under a `MockClock` that jumps."""
    host = ManyNodes.of(luns, underpaths)
    gc.collect()
    memory = _resident_bytes()
    begun_s = time.process_time()
    found = await discover(open_transport=host.open, host=host)
    discovered_s = time.process_time()
    devices = [
        PseudoDevice(lun.logical_unit, [one.transport for one in lun.underpaths], Settings(KEY))
        for lun in found.luns
    ]
    for device in devices:
        await device.configure()
    registered_s = time.process_time()
    with trio.move_on_after(60 * minutes):
        async with trio.open_nursery() as nursery:
            for device in devices:
                nursery.start_soon(watch, device)
    watched_s = time.process_time()
    gc.collect()
    return Figures(
        luns=len(devices),
        underpaths=sum(len(device.underpaths) for device in devices),
        discovery_cpu_s=discovered_s - begun_s,
        registration_cpu_s=registered_s - discovered_s,
        checks_cpu=(watched_s - registered_s) / (60 * minutes),
        bytes_per_lun=(_resident_bytes() - memory) // luns,
    )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def told(figures: Figures) -> str:
    """As a table."""
    rows = (
        ("LUNs, underpaths", f"{figures.luns}, {figures.underpaths}"),
        ("discovery", f"{figures.discovery_cpu_s:.1f} s of processor time"),
        ("registering all", f"{figures.registration_cpu_s:.1f} s of processor time"),
        ("checks, idle", f"{100 * figures.checks_cpu:.1f} % of one processor"),
        ("memory", f"{figures.bytes_per_lun / 1024:.0f} KiB a LUN"),
    )
    return "\n".join(f"{name:18} {value}" for name, value in rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--luns", type=int, default=1000)
    parser.add_argument("--underpaths", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    clock = MockClock(autojump_threshold=0)
    figures = trio.run(measure, asked.luns, asked.underpaths, asked.minutes, clock=clock)
    text = json.dumps(attrs.asdict(figures)) if asked.json else told(figures)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
