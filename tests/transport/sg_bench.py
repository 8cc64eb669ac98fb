"""Benches for the sg transport on the lab's fabrics; everything here runs in the guest."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from mpio_fuse.scsi.capacity import decode_read_capacity_10, read_capacity_10
from mpio_fuse.scsi.command import received
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.sg import SgTransport, open_sg
from tests.lab.fabric import FabricReport

SCSI_DEVICES = Path("/sys/bus/scsi/devices")
SCSI_DEBUG = Path("/sys/bus/pseudo/drivers/scsi_debug")
LOOPBACK = Path("/sys/kernel/config/target/loopback")
POLL_S = 0.01
HANG_S = 30.0
SLOW_NS = 200_000_000
MEDIUM_ERROR_OPTION = 2
TIMEOUT_OPTION = 4
FIRST_BAD_LBA = 0x1234


def lab_address() -> str:
    """The H:C:T:L of the fabric's first node; numbers of nodes change when they are made anew."""
    report = FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())
    return report.nodes[0].hctl


async def poke(path: Path, text: str) -> None:
    """Write to a control file, which may wait for commands that only this process's trio can take back."""
    await trio.to_thread.run_sync(path.write_text, text + "\n")


class SgBench:
    """A disk of the lab through the sg transport."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.device = SCSI_DEVICES / address

    transport: SgTransport
    block_size_bytes: int
    last_lba: int

    async def set_up(self) -> None:
        """Open the node, take away its unit attentions and learn its size."""
        await self._node_is_there()
        self.transport = await self.reopen()
        while not (await self.transport.execute(test_unit_ready())).is_good:
            pass
        command = read_capacity_10()
        capacity = decode_read_capacity_10(received(command, await self.transport.execute(command)))
        assert capacity is not None
        self.block_size_bytes, self.last_lba = capacity.block_size_bytes, capacity.last_lba

    async def tear_down(self) -> None:
        await self.transport.aclose()
        await self._node_is_there()

    async def reopen(self) -> SgTransport:
        (generic,) = (self.device / "scsi_generic").iterdir()
        return await open_sg(f"/dev/{generic.name}")

    async def set_offline(self) -> None:
        await poke(self.device / "state", "offline")

    async def set_running(self) -> None:
        await poke(self.device / "state", "running")

    async def vanish(self) -> None:
        await poke(self.device / "delete", "1")

    async def come_back(self) -> None:
        """Undo `vanish`."""
        host, channel, target, lun = self.address.split(":")
        await poke(Path(f"/sys/class/scsi_host/host{host}/scan"), f"{channel} {target} {lun}")

    async def establish_unit_attention(self) -> None:
        await trio.run_process(["sg_reset", "--device", self.transport.name])

    def _has_node(self) -> bool:
        return any((self.device / "scsi_generic").glob("sg*"))

    async def _node_is_there(self) -> None:
        """Get the device back if a test deleted it."""
        if not self.device.exists():
            await self.come_back()
        with trio.fail_after(HANG_S):
            while not self._has_node():  # noqa: ASYNC110 (the kernel makes it when it likes)
                await trio.sleep(POLL_S)


class LioLoopBench(SgBench):
    """A LUN of LIO behind tcm_loop.  It vanishes when the target unmaps it; a scan would not find it again."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        lun = int(address.split(":")[3])
        (self._link,) = (
            entry
            for entry in LOOPBACK.glob(f"naa.*/tpgt_1/lun/lun_{lun}/*")
            if entry.is_symlink() and "/core/" in str(entry.readlink())
        )
        self._disk = self._link.resolve()

    async def vanish(self) -> None:
        await trio.to_thread.run_sync(self._link.unlink)

    async def come_back(self) -> None:
        await trio.to_thread.run_sync(self._link.symlink_to, self._disk)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """The transport between host and target is down."""
        status = self._link.parents[2] / "transport_status"
        await poke(status, "offline")
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await poke(status, "online")


class ScsiDebugBench(SgBench):
    """The kernel's simulated disk, which can be slow and bad."""

    bad_lba = FIRST_BAD_LBA

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        await self._set("ndelay", SLOW_NS)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._set("ndelay", 0)
                await self._set("delay", 0)

    @asynccontextmanager
    async def swallowing(self) -> AsyncIterator[None]:
        """No command is answered any more: each ends when the kernel aborts it after its timeout."""
        await self._set("every_nth", -1)
        await self._set("opts", TIMEOUT_OPTION)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._set("every_nth", 0)
                await self._set("opts", 0)

    @asynccontextmanager
    async def bad_medium(self) -> AsyncIterator[None]:
        await self._set("opts", MEDIUM_ERROR_OPTION)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._set("opts", 0)

    async def _set(self, name: str, value: int) -> None:
        """Set an option; it is busy while commands are in the device."""
        with trio.fail_after(HANG_S):
            while True:
                try:
                    await poke(SCSI_DEBUG / name, str(value))
                except OSError:
                    await trio.sleep(POLL_S)
                else:
                    return
