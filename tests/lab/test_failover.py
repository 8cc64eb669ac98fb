"""An underpath is lost under fio's verified writes: on LIO, with the barrier's real PREEMPT AND ABORT."""

import pytest

from tests.lab.host import Host, witness
from tests.lab.lab import Lab

FIO = (
    "fio --name=x --filename=$LUN --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1"
    " --size=16m --time_based --runtime=6 --verify=crc32c --verify_backlog=64"
    " --verify_state_save=0 --output=/tmp/fio"
)

FAULTS = {
    "its device is set offline": "echo offline > /sys/class/scsi_generic/$SG/device/state",
    "its session is logged out": (
        "SID=$(readlink -f /sys/class/scsi_generic/$SG/device | grep -o 'session[0-9]*');"
        " iscsiadm -m session -r ${SID#session} -u > /tmp/logout"
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_wrong_byte_and_no_error_while_one_underpath_lives(lab: Lab, fault: str) -> None:
    a = Host(lab, "a")
    a.mount().check()
    lost = a.nodes[0].removeprefix("/dev/")
    # The fault strikes once both underpaths have carried writes.
    moved = "[ $(mpio-fuse status --json | grep -c '\"writes\": [1-9]') = 2 ]"
    a.run(f"SG={lost}; {FIO} & until {moved}; do sleep 0.5; done; {fault}; wait $!").check()
    states = {one["device"]: one["state"] for one in a.lun()["underpaths"]}
    # A node that is gone leaves the mount, too.
    assert states.pop(f"/dev/{lost}", "removed") in {"down", "removed"}
    assert set(states.values()) == {"up"}
    a.unmount().check()
    assert "NO registered reservation keys" in witness(lab, "--read-keys")
