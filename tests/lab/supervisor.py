"""The process between a lab and its guest: it owns the guest's life.

Run as a program (``python -I -S supervisor.py WORK CPU FD,FD... COMMAND...``) with a pipe as stdin that the
lab holds open.  When that pipe ends, because the lab closed it or because the lab's process is gone, however
it went, all of the guest's processes are killed and the work directory removed.  So neither Ctrl-C nor
``kill -9`` of a test run leaves a guest behind, and there is one way to clean up instead of two.

The first line on stdout is the PID of the process COMMAND became.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
KILL_LIMIT_S = 5.0
KILL_POLL_S = 0.005


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _kill_group(group: int) -> None:
    """Kill all of the guest's processes and wait until none is left."""
    deadline_s = time.monotonic() + KILL_LIMIT_S
    while _group_exists(group) and time.monotonic() < deadline_s:
        _reap()
        time.sleep(KILL_POLL_S)


def _wait_for_end(guest: subprocess.Popen[bytes]) -> None:
    """Return when the lab has closed our stdin or the guest has ended by itself."""
    ended = os.pidfd_open(guest.pid)
    try:
        select.select([sys.stdin.fileno(), ended], [], [])
    finally:
        os.close(ended)


def _remove(work: str) -> None:
    # A process being killed may still create a file in a directory just emptied, hence more than one try.
    for _ in range(10):
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
        if not os.path.exists(work):  # noqa: PTH110 (pathlib would double the start-up time)
            return
        time.sleep(KILL_POLL_S)


def main(arguments: list[str]) -> None:
    """Start the guest's COMMAND in its own process group, and clean up after it."""
    work, cpu, fd_list, *command = arguments
    fds = [int(fd) for fd in fd_list.split(",") if fd]
    # A guest that hops between CPUs pays ten times over for each of its system calls.
    os.sched_setaffinity(0, {int(cpu)})
    # The guest's orphans become our children, to be waited for: a container's init may take seconds to do so.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        guest = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=fds, start_new_session=True
        )
        for fd in fds:
            os.close(fd)  # so that the lab reads end-of-file when the guest dies
        print(guest.pid, flush=True)  # noqa: T201
        try:
            _wait_for_end(guest)
        finally:
            _kill_group(guest.pid)
            sys.stdin.read()
    finally:
        _remove(work)


if __name__ == "__main__":
    main(sys.argv[1:])
