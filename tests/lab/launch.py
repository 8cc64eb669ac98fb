"""How a guest is started: the kernel's command line, the namespaces around it, the CPU it gets."""

import functools
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from tests.lab.prerequisites import UML_KERNEL, find_program

PROJECT_ROOT = Path(__file__).resolve().parents[2]

# In the guest these are empty file systems of its own.
HIDDEN_DIRECTORIES = (Path("/tmp"), Path("/run"), Path("/dev"))  # noqa: S108

# Together these bring the boot from seconds to a tenth of one: no RAID and compression benchmarks, no 256 legacy
# ptys, no delay-loop calibration.  noreboot makes a panic end the process.
FAST_BOOT = (
    "quiet",
    "initcall_blacklist=raid6_select_algo,init_zswap,init_jfs_fs",
    "pty.legacy_count=0",
    "lpj=25000000",
    "noreboot",
)

# In the namespace the machine's file system is read-only but for the work directory, because a guest's root user can
# mount the machine's file system again.  The shell stays as the namespace's init: were it the kernel itself, a panic
# would hang instead of ending it.
NAMESPACE_SCRIPT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind / && "$@"; exit $?'
NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@frozen
class GuestSettings:
    """What can differ from guest to guest.

    ``fds`` are open file descriptors that ``kernel_arguments`` refer to, as in ``vec0:transport=fd,fd=7``.
    """

    memory_bytes: int = 1 << 30
    kernel_arguments: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()


@functools.cache
def can_unshare() -> bool:
    """Tell whether this user may make mount and PID namespaces (root, in most containers)."""
    probe = [*NAMESPACE, "sh", "-c", NAMESPACE_SCRIPT, "/usr", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def hidden_directories() -> list[str]:
    """Give the directories the guest must see although they lie below one that is empty in it."""
    needed = {PROJECT_ROOT, Path(sys.prefix), Path(sys.base_prefix)}
    hidden = [
        path for path in needed if any(path.is_relative_to(top) for top in HIDDEN_DIRECTORIES)
    ]
    # One inside another comes with it.
    return sorted(
        str(path)
        for path in hidden
        if not any(path != p and path.is_relative_to(p) for p in hidden)
    )


def kernel_command(
    settings: GuestSettings, work: Path, control_fd: int, shell_fd: int
) -> list[str]:
    """Give the User Mode Linux command line; ``work/init`` becomes its PID 1."""
    return [
        find_program(UML_KERNEL) or UML_KERNEL,
        f"mem={settings.memory_bytes >> 10}K",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={work}/init",
        "con=null",
        "con0=null,fd:1",
        f"ssl0=fd:{control_fd}",
        f"ssl1=fd:{shell_fd}",
        f"uml_dir={work}/umid",
        *FAST_BOOT,
        *settings.kernel_arguments,
    ]


def isolate(command: Sequence[str], work: Path) -> list[str]:
    """Put ``command`` into its own namespaces if this user may."""
    if not can_unshare():
        return list(command)
    return [*NAMESPACE, "sh", "-c", NAMESPACE_SCRIPT, str(work), *command]


def memory_directory(memory_bytes: int, work: Path) -> str:
    """Give a directory with room for the file that is the guest's memory."""
    # Containers often have a /dev/shm of 64 MiB; running over would end the guest with SIGBUS.
    shared_memory = Path("/dev/shm")  # noqa: S108
    try:
        room = os.statvfs(shared_memory)
    except OSError:
        return str(work)
    enough = room.f_bavail * room.f_frsize > memory_bytes + (memory_bytes >> 3)
    return str(shared_memory if enough and os.access(shared_memory, os.W_OK) else work)


def claim_cpu() -> tuple[int, socket.socket | None]:
    """Choose a CPU for a guest: one that no other guest on this machine has, if there is one.

    The claim is the name of an abstract socket, which the kernel takes back however the claimant ends; closing the
    socket gives the CPU back.  Without a free one the CPU is shared, and the second result is None.
    """
    cpus = sorted(os.sched_getaffinity(0), reverse=True)
    for cpu in cpus:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0mpio-fuse-lab-cpu-{cpu}")
        except OSError:
            claim.close()
        else:
            return cpu, claim
    return cpus[os.getpid() % len(cpus)], None


def environment_script() -> str:
    """Give shell text that sets the environment of every command in the guest."""
    search = [
        f"{sys.prefix}/bin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    variables = {
        "PATH": ":".join(search),
        "HOME": "/root",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": sys.prefix,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LAB_PROJECT": str(PROJECT_ROOT),
        "LAB_PYTHON": sys.executable,
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
