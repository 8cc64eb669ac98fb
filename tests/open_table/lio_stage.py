"""The table's stage in the lab: LIO over iSCSI, with sg_persist over a third host's nexus as the witness."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from examples.demo.array_view import parse_full_status
from mpio_fuse.device.control import issue
from mpio_fuse.device.probe import note_nothing
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.sg import SgTransport, open_sg
from tests.lab.fabric import FabricReport
from tests.open_table.play import Registered

WITNESS = "c"
CLEANING_KEY = ReservationKey.from_int(0xC1EA)


@attrs.define
class LioStage:
    """The lab's first LUN.  ``nodes``: its sg nodes by nexus."""

    nodes: dict[str, str]
    _opened: list[SgTransport] = attrs.Factory(list)
    _offline: list[str] = attrs.Factory(list)

    async def transport(self, nexus: str) -> SgTransport:
        opened = await open_sg(self.nodes[nexus])
        self._opened.append(opened)
        return opened

    async def cut(self, nexus: str) -> None:
        self._set_state(nexus, "offline")
        self._offline.append(nexus)

    async def witness(self) -> Registered:
        command = ["sg_persist", "-n", "--in", "--read-full-status", self.nodes[f"{WITNESS}1"]]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: ASYNC221 - nothing else runs
        return Registered.of(
            (
                f"{one.initiator.partition(',')[0][-1]}{one.target_port}",
                ReservationKey.from_int(one.key),
                one.reservation_type,
            )
            for one in parse_full_status(said)
        )

    async def clear(self) -> None:
        """No registration, no reservation, and no nexus with anything to be told."""
        cleaning = await open_sg(self.nodes[f"{WITNESS}1"])
        try:
            await _good(cleaning, pr_out.register_and_ignore_existing_key(CLEANING_KEY))
            await _good(cleaning, pr_out.clear(CLEANING_KEY))
        finally:
            await cleaning.aclose()
        for node in self.nodes.values():
            transport = await open_sg(node)
            try:
                await _good(transport, test_unit_ready())
            finally:
                await transport.aclose()

    async def leave(self) -> None:
        for nexus in self._offline:
            self._set_state(nexus, "running")
        for transport in self._opened:
            await transport.aclose()

    def _set_state(self, nexus: str, state: str) -> None:
        name = Path(self.nodes[nexus]).name
        Path(f"/sys/class/scsi_generic/{name}/device/state").write_text(f"{state}\n")


async def _good(transport: Transport, command: Command) -> None:
    completion = await issue(Underpath(0, transport), command, 10, note_nothing)
    assert completion.is_good, (transport.name, command, completion)


@asynccontextmanager
async def lio_stage(report: FabricReport) -> AsyncIterator[LioStage]:
    """A stage on the fabric, cleared."""
    stage = LioStage({f"{one.host}{one.underpath + 1}": one.sg for one in report.select(lun=1)})
    await stage.clear()
    try:
        yield stage
    finally:
        await stage.leave()
