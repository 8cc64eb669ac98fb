"""Hazards of docs/hazards.md that only a real kernel shows: what must not be done to it."""

import json
import sys

import pytest

from mpio_fuse.scsi.sense import decode_sense
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.sg import open_sg
from tests.lab.fabric import FabricReport
from tests.lab.host import Host
from tests.lab.lab import Lab

IO_FLUSHER = 0x0008_0000 | 0x0010_0000
"""PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE, as PR_SET_IO_FLUSHER sets them (Linux 6.1)."""

WATCH = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
IN_CLOSE_WRITE = 8
fd = libc.inotify_init1(0)
names = {libc.inotify_add_watch(fd, node.encode(), IN_CLOSE_WRITE): node for node in sys.argv[1:]}
assert -1 not in names
print("watching", flush=True)
while True:
    event = os.read(fd, 16)
    print("closed after writing:", names[int.from_bytes(event[:4], "little")], flush=True)
"""
"""What udev waits for before it probes a disk anew."""


@pytest.mark.hazard(24)
def test_the_daemon_is_out_of_memory_reclaim(lab: Lab) -> None:
    a = Host(lab, "a")
    a.mount().check()
    (daemon,) = json.loads(a.run("mpio-fuse status --json").check().stdout)["daemons"]
    process = f"/proc/{daemon['pid']}"
    (locked,) = a.run(f"grep VmLck {process}/status").check().stdout.splitlines()
    assert int(locked.split()[1]) > 1000
    # After the name, which is in parentheses: state, four IDs, tty, its process group, flags (proc(5)).
    fields = a.run(f"cat {process}/stat").check().stdout.rpartition(") ")[2].split()
    assert int(fields[6]) & IO_FLUSHER == IO_FLUSHER


@pytest.mark.hazard(26)
def test_no_disk_is_opened_for_writing(lab: Lab) -> None:
    a = Host(lab, "a")
    disks = [
        f"/dev/{one}"
        for one in lab.run("ls /sys/block").check().stdout.split()
        if one.startswith("sd")
    ]
    watch = lab.spawn([sys.executable, "-c", WATCH, *disks])
    watch.wait_for_output("watching")
    a.run(f"mpio-fuse discover {' '.join(a.nodes)}").check()
    a.mount().check()
    a.run(
        "echo data > $LUN && mpio-fuse status && mpio-fuse persist read-keys " + a.nodes[0]
    ).check()
    a.unmount().check()
    lab.run(f"exec 3<>{disks[-1]}").check()  # what would be seen
    watch.wait_for_output(f"closed after writing: {disks[-1]}\n")
    assert watch.stdout.split("\n")[1:] == [f"closed after writing: {disks[-1]}", ""]


@pytest.mark.hazard(9)
@pytest.mark.in_guest
@pytest.mark.fabric(kind="scsi_debug", hosts=1, underpaths=1, luns=2)
async def test_a_reset_of_one_logical_unit_leaves_the_targets_others_alone(
    lab_fabric: FabricReport,
) -> None:
    first, second = sorted(lab_fabric.nodes, key=lambda one: one.lun)
    assert first.hctl.rpartition(":")[0] == second.hctl.rpartition(":")[0], "one target"
    reset, other = [await open_sg(node.sg) for node in (first, second)]
    try:
        for one in (reset, other):  # what earlier tests have left to tell
            while not (await one.execute(test_unit_ready())).is_good:
                pass
        await reset.reset_logical_unit()
        told = await reset.execute(test_unit_ready())
        assert decode_sense(told.sense).asc == 0x29
        assert (await other.execute(test_unit_ready())).is_good
    finally:
        await reset.aclose()
        await other.aclose()
