"""What the lab needs on this machine, and which Debian package brings it.

A missing one is an error that names the package, never a reason to skip: a test run that tested nothing
must not look like one that passed.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.lab.errors import MissingPrerequisiteError

UML_KERNEL = "linux.uml"
UML_MODULES = Path("/usr/lib/uml/modules")

# Daemons live in sbin, which is not on the PATH of an ordinary user.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Program -> Debian package.
PACKAGES = {
    UML_KERNEL: "user-mode-linux",
    "bash": "bash",
    "busybox": "busybox-static",
    "unshare": "util-linux",
    "modprobe": "kmod",
    "iscsiadm": "open-iscsi",
    "iscsid": "open-iscsi",
    "tgtd": "tgt",
    "tgtadm": "tgt",
    "sg_persist": "sg3-utils",
    "sg_turs": "sg3-utils",
    "sg_reset": "sg3-utils",
    "fusermount3": "fuse3",
    "fio": "fio",
    "mkfs.ext4": "e2fsprogs",
    "dmsetup": "dmsetup",
    "tc": "iproute2",
    "multipathd": "multipath-tools",
    "/lib/systemd/systemd-udevd": "udev",
    "udevadm": "udev",
}

BOOT_PROGRAMS = (UML_KERNEL, "bash", "busybox", "unshare", "modprobe", "sg_persist", "sg_turs")


def find_program(name: str) -> str | None:
    """Give the absolute path of ``name``, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def require(programs: Iterable[str]) -> None:
    """Raise MissingPrerequisiteError, naming the packages to install, unless all ``programs`` are here."""
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        packages = sorted({PACKAGES.get(name, name) for name in missing})
        raise MissingPrerequisiteError(
            f"the lab needs {', '.join(missing)}: apt-get install {' '.join(packages)}"
        )
    if not any(UML_MODULES.glob("*/kernel/fs/overlayfs/overlay.ko")):
        raise MissingPrerequisiteError(
            f"no User Mode Linux modules in {UML_MODULES}: apt-get install --reinstall user-mode-linux"
        )
