"""A place of our own: user, network, mount and process namespaces, made by unshare(1).

It takes no root where the kernel lets people, and says what is missing where it does not.  What runs there
is root there and nobody outside, has no network but what it makes, and whatever it leaves behind, processes, mounts and
devices, goes with it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

INSIDE_VARIABLE = "MPIO_FUSE_TESTS_INSIDE"
UNSHARE = (
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
PROBE_LIMIT_S = 30.0
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where ip(8) and tgtd are, and ordinary users do not look."""

PACKAGES = {
    "unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "tgtd": "tgt", "tgtadm": "tgt", "fio": "fio",
}  # fmt: skip
_LINK = "ip link add x0 type veth peer name x1"
_STEPS = {
    "true": "namespaces: " + " ".join(UNSHARE[1:]),
    "mount -t tmpfs tmpfs /run": "mounting a tmpfs there",
    _LINK: "virtual Ethernet devices (kernel option VETH)",
    "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add x": "ip netns add",
    f"{sys.executable} -c 'import socket; socket.socket(17, 3, 0)'": "packet sockets",
    "test -r /dev/fuse && test -w /dev/fuse": "/dev/fuse, for reading and writing",
}


def with_sbin() -> None:
    """Have programs of sbin found, by what is started from here too."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{SBIN}"


def missing() -> list[str]:
    """What this machine lacks for it, in words; nothing, if all is there."""
    with_sbin()
    programs = {name for name in PACKAGES if shutil.which(name) is None}
    if programs:
        packages = " ".join(sorted({PACKAGES[name] for name in programs}))
        return [f"{', '.join(sorted(programs))}: apt-get install {packages}"]
    return [problem for step, what in _STEPS.items() if (problem := _problem(step, what))]


def _problem(step: str, what: str) -> str | None:
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", step], check=False, capture_output=True, text=True,
        timeout=PROBE_LIMIT_S,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"{what} ({said})"


def is_inside() -> bool:
    return os.environ.get(INSIDE_VARIABLE) == "1"


def go_inside(*arguments: str) -> int:
    """Run ``python -m tests.native`` there with these arguments; its exit status."""
    command = [*UNSHARE, sys.executable, "-m", "tests.native", *arguments]
    return subprocess.run(command, check=False, env=os.environ | {INSIDE_VARIABLE: "1"}).returncode


def settle() -> None:
    """Once, inside: make the place fit to live in."""
    for words in ("mount -t tmpfs tmpfs /run", "ip link set lo up"):
        subprocess.run(words.split(), check=True)
    Path("/run/netns").mkdir()
