"""``mpio-fuse mount`` over devices in memory: ``python -m tests.daemon.serve_memory mount MOUNTPOINT ...``.

The LUNs are made up, all else is the program's own: command line, background, daemon, control socket.  DEVICEs named
say how assembling ends: ``refused`` leaves that LUN out, ``alone`` fails it all, ``dies`` ends the process.
"""

import os
import signal
import sys
from collections.abc import Sequence

import attrs

from mpio_fuse.cli import main
from mpio_fuse.daemon import assemble
from mpio_fuse.daemon.config import Config
from mpio_fuse.device.snapshot import DeviceSnapshot, ReservationSnapshot, UnderpathSnapshot
from mpio_fuse.device.underpath import Counters
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.reservation_key import ReservationKey
from tests.fs.memory_device import MemoryDevice

SIZE_BYTES = 4 << 20
WWID = "naa.5000000000000001"


@attrs.define(eq=False)
class ShownDevice(MemoryDevice):
    """A memory device with a state to show."""

    key: ReservationKey = attrs.field(kw_only=True)

    def snapshot(self) -> DeviceSnapshot:
        underpath = UnderpathSnapshot(
            name="/dev/sg0",
            state="up",
            registered=True,
            is_holder=True,
            in_flight=0,
            stranded=0,
            counters=Counters(reads=3, bytes_read=4096),
            last_failure="",
        )
        return DeviceSnapshot(
            name=self.name,
            wwid=WWID,
            size_bytes=self.size_bytes,
            block_size_bytes=512,
            key=self.key,
            reservation=ReservationSnapshot("ours", self.key, "Exclusive Access, registrants only"),
            opens=("DEFAULT",),
            underpaths=(underpath,),
        )


@attrs.define
class MemoryAssembly:
    devices: list[ShownDevice]
    left_out: list[MpioError]
    warnings: list[str] = attrs.Factory(list)

    async def watch(self) -> None:
        """Memory needs no looking after."""

    async def aclose(self) -> list[Exception]:
        return []


async def _assemble(nodes: Sequence[str], config: Config, key: ReservationKey) -> MemoryAssembly:
    refused = MpioError("no underpath could be registered", lun="naa.2", hint="check the cabling")
    if "dies" in nodes:
        os.kill(os.getpid(), signal.SIGKILL)
    if "alone" in nodes:
        raise refused
    name = config.lun(WWID).alias or "naa.1"
    left_out = [refused] if "refused" in nodes else []
    device = ShownDevice(name, SIZE_BYTES, key=key)
    return MemoryAssembly([device], left_out, config.about_none_of([WWID]))


if __name__ == "__main__":
    assemble.assemble = _assemble  # type: ignore[assignment] # what the command then imports
    sys.exit(main.run())
