"""Runs in the guest: tgtd, the iSCSI target in user space."""

import subprocess
import time
from pathlib import Path

from tests.lab.fabric import TARGET_NAME, Fabric
from tests.lab.initiator import PORT, portal_address

LUN_DIRECTORY = Path("/dev/shm/lab")  # noqa: S108 (the guest's own)
START_LIMIT_S = 10.0
POLL_S = 0.02


def _tgtadm(*arguments: str, check: bool = True) -> bool:
    command = ["tgtadm", "--lld", "iscsi", *arguments]
    return subprocess.run(command, check=check, capture_output=not check).returncode == 0


def _start() -> None:
    # Leaves into the background by itself, but before it listens on its control socket.
    subprocess.run(["tgtd", "--iscsi", f"portal={portal_address(0)}:{PORT}"], check=True)
    deadline_s = time.monotonic() + START_LIMIT_S
    while not _tgtadm("--mode", "sys", "--op", "show", check=False):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"tgtd does not answer after {START_LIMIT_S:g} s")
        time.sleep(POLL_S)


def build(fabric: Fabric) -> None:
    """Offer the LUNs to everybody in one target on all networks."""
    LUN_DIRECTORY.mkdir()
    _start()
    for underpath in range(1, fabric.underpaths):
        # A second portal on tgtd's command line would be ignored.
        _tgtadm(
            "--mode",
            "portal",
            "--op",
            "new",
            "--param",
            f"portal={portal_address(underpath)}:{PORT}",
        )
    _tgtadm("--mode", "target", "--op", "new", "--tid", "1", "-T", TARGET_NAME)
    for spec in fabric.luns:
        backing = LUN_DIRECTORY / spec.name
        with backing.open("wb") as file:
            file.truncate(spec.size_bytes)
        _tgtadm(
            "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", str(spec.number),
            "-b", str(backing), "--blocksize", str(spec.block_size_bytes),
        )  # fmt: skip
    _tgtadm("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
