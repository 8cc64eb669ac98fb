"""Brings underpaths that failed back into service, and keeps what `status` shows of a standby fresh.

The simplest checker there is: each underpath out of service is asked TEST UNIT READY now and then; one that answers is
checked to be the same disk and registered again, by `PseudoDevice.readmit`, never by this module.
"""

import structlog
import trio

from mpio_fuse.device.control import issue
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.unit_ready import test_unit_ready

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 5.0


async def watch(device: PseudoDevice, interval_s: float = CHECK_INTERVAL_S) -> None:
    """Check the device's underpaths for ever; to be cancelled."""
    while True:
        await trio.sleep(interval_s)
        async with trio.open_nursery() as nursery:
            for underpath in device.underpaths:
                if not underpath.is_usable and underpath.state is not UnderpathState.REMOVED:
                    nursery.start_soon(_check, device, underpath)
        await _refresh(device)


async def _check(device: PseudoDevice, underpath: Underpath) -> None:
    if underpath.in_flight or underpath.transport.stranded:
        return  # what was sent before is still under way: it proves nothing to ask again
    completion = await issue(
        underpath, test_unit_ready(), device.settings.control_timeout_s, device.note_attention
    )
    if not completion.is_good:
        return
    try:
        await device.readmit(underpath)
    except MpioError as error:
        log.info("not readmitted", lun=device.name, underpath=underpath.name, cause=str(error))


async def _refresh(device: PseudoDevice) -> None:
    """A device that is not used learns nothing from I/O, so it is looked at now and then."""
    try:
        await device.look()
    except MpioError as error:
        log.info("reservation not readable", lun=device.name, cause=str(error))
