"""What somebody who mounts LUNs over a single path is told: nothing but SCSI-2 reservations keeps hosts apart there."""

from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.snapshot import DeviceSnapshot
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.reservation_key import ReservationKey

_UNKNOWN = "whether that keeps other hosts out is not known: some disks answer GOOD and do nothing"


def unprotected(device: DeviceSnapshot) -> str | None:
    """The warning about a LUN that is served so; None of any other."""
    one = device.reservation.single_path
    if one is None:
        return None
    how = f"served over {one.carrier} alone, without failover, and reserved with SCSI-2 RESERVE(6)"
    return f"{device.name}: single path: {how}; {_UNKNOWN}"


async def mixed(lun: str, reader: ReserveReader) -> str:
    """The warning about an array that has persistent reservations, which other hosts may be using."""
    try:
        keys = (await reader.keys()).keys
    except MpioError:  # as where another host has it reserved
        keys = ()
    now = f"; registered there now: {_spelt(keys)}" if keys else ""
    return (
        f"{lun}: single_path is configured, and its array has persistent reservations: a host without single_path "
        f"and this one do not keep each other out; configure it on all of them{now}"
    )


def _spelt(keys: tuple[ReservationKey, ...]) -> str:
    return ", ".join(sorted({f"key {key}" for key in keys}))
