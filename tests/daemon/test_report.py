"""What a daemon tells of its devices, as plain data."""

import pytest

from mpio_fuse.daemon.report import retained_report
from mpio_fuse.device.snapshot import DeviceSnapshot, ReservationSnapshot, SinglePathSnapshot
from mpio_fuse.scsi.reservation_key import ReservationKey

KEY = ReservationKey.parse("a1")


def _device(single_path: SinglePathSnapshot | None) -> DeviceSnapshot:
    reservation = ReservationSnapshot("ours", single_path=single_path)
    return DeviceSnapshot("disk", "naa.5000000000000001", 1 << 20, 512, KEY, reservation, (), ())


@pytest.mark.parametrize(
    ("single_path", "by"),
    [
        (None, f"key {KEY}"),
        (SinglePathSnapshot("/dev/sg3"), "the nexus of /dev/sg3"),
        (SinglePathSnapshot("iscsi://127.0.0.1/iqn.2026-01.test:disks/1"), None),
    ],
)
def test_what_stays_reserved_without_the_daemon(
    single_path: SinglePathSnapshot | None, by: str | None
) -> None:
    """A SCSI-2 reservation goes with a session of our own; a persistent one does not."""
    assert [one["by"] for one in retained_report([_device(single_path)])] == ([by] if by else [])
