"""Runs in the guest: what its kernel shows of SCSI, and waiting for it to show it."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

SCSI_GENERIC = Path("/sys/class/scsi_generic")
PERIPHERAL_DISK = "0"
POLL_S = 0.01
LIMIT_S = 30.0


@frozen
class Disk:
    """One SCSI disk as the kernel knows it."""

    sg: str
    block: str
    hctl: str
    device: Path
    """Its directory below /sys/devices, which tells what it hangs off."""

    @property
    def host_number(self) -> int:
        """The H of H:C:T:L."""
        return int(self.hctl.split(":")[0])

    @property
    def lun(self) -> int:
        """The L of H:C:T:L."""
        return int(self.hctl.split(":")[3])

    def ancestor_number(self, prefix: str) -> int:
        """Give N of the directory ``<prefix>N`` that the disk hangs off."""
        match = re.search(rf"/{prefix}(\d+)(?:/|$)", str(self.device))
        if match is None:
            raise LookupError(f"{self.sg} ({self.device}) does not hang off a {prefix}")
        return int(match[1])


def load(*modules: str) -> None:
    """Load kernel modules, all at once."""
    subprocess.run(["modprobe", "-a", *modules], check=True)


def disks() -> Iterator[Disk]:
    """Give the disks that are there; OSError if one goes away meanwhile."""
    for entry in SCSI_GENERIC.glob("sg*"):
        device = (entry / "device").resolve()
        # Skips what is no disk, as tgt's controller at LUN 0, and what has no block device yet.
        if (device / "type").read_text().strip() == PERIPHERAL_DISK:
            for block in (device / "block").glob("*"):
                yield Disk(f"/dev/{entry.name}", f"/dev/{block.name}", device.name, device)


def wait_for_disks(count: int) -> list[Disk]:
    """Wait until ``count`` disks are there, and give them; TimeoutError after a while."""
    deadline_s = time.monotonic() + LIMIT_S
    while len(found := list(disks())) < count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(
                f"{len(found)} disks instead of {count} after {LIMIT_S:g} s: {found}"
            )
        time.sleep(POLL_S)
    return found
