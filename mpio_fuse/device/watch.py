"""Looks after one device for as long as it is served: its underpaths, and whose it is."""

from functools import partial

import structlog
import trio

from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.errors import MpioError

log = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 5.0


async def watch(device: PseudoDevice, look_interval_s: float = LOOK_INTERVAL_S) -> None:
    """Check the device's underpaths, and look at the reservation and the size, for ever; to be cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(device.checks.keep)
        nursery.start_soon(partial(_keep_looking, device, look_interval_s))


async def _keep_looking(device: PseudoDevice, interval_s: float) -> None:
    """A device that is not used learns nothing from I/O, so it is looked at now and then."""
    while True:
        await trio.sleep(interval_s)
        try:
            await device.look()
        except MpioError as error:
            log.info("reservation not readable", lun=device.name, cause=str(error))
