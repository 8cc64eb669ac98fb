"""Nodes that are deleted and rescanned while a file on them is written, on a real kernel."""

import pytest

from tests.lab.host import Host, keys_seen
from tests.lab.lab import Lab
from tests.lab.test_failover import FIO


def _states(host: Host) -> dict[str, str]:
    return {one["device"]: one["state"] for one in host.lun()["underpaths"]}


@pytest.fixture
def a(lab: Lab) -> Host:
    return Host(lab, "a")


def test_a_deleted_node_is_removed_and_a_rescanned_one_added(a: Host) -> None:
    """Under verified writes: no wrong byte, no error, and two underpaths again at the end."""
    a.mount().check()
    lost = a.nodes[0].removeprefix("/dev/")
    moved = "[ $(mpio-fuse status --json | grep -c '\"writes\": [1-9]') = 2 ]"
    gone = f"! mpio-fuse status | grep -q {lost}"
    back = '[ $(mpio-fuse status --json | grep -c \'"state": "up"\') = 2 ]'
    a.run(
        f"HOST=$(readlink -f /sys/class/scsi_generic/{lost}/device | grep -o 'host[0-9]*' | head -1);"
        f" {FIO} & until {moved}; do sleep 0.2; done;"
        f" echo 1 > /sys/class/scsi_generic/{lost}/device/delete; until {gone}; do sleep 0.2; done;"
        " echo '- - -' > /sys/class/scsi_host/$HOST/scan;"
        f" until {back}; do sleep 0.2; done; wait $!"
    ).check()
    assert sorted(_states(a).values()) == ["up", "up"]
    a.unmount().check()
    assert keys_seen(a.lab) == []
    # The kernel found the disk while it was reserved, and could not read its size then: others want to use it.
    a.run(f"echo 1 > /sys/class/scsi_generic/{lost}/device/rescan").check()


def test_an_underpath_is_removed_and_added_by_hand(a: Host) -> None:
    a.mount().check()
    lun = a.lun()["name"]
    first, second = a.nodes
    a.run(
        f"exec 9<>$LUN; mpio-fuse underpath remove {lun} {first}; dd if=/dev/zero of=$LUN count=8"
    ).check()
    assert list(_states(a)) == [second]
    refused = a.run(f"exec 9<>$LUN; mpio-fuse underpath remove {lun} {second}")
    assert refused.status == 1
    assert "the last usable underpath" in refused.stderr
    a.run(f"exec 9<>$LUN; mpio-fuse underpath add {lun} {first}").check()
    assert _states(a) == {first: "up", second: "up"}
    again = a.run(f"mpio-fuse underpath add {lun} {first}")
    assert again.status == 1
    assert "is an underpath already" in again.stderr
    other = a.run(f"mpio-fuse underpath add {lun} /dev/sg99")
    assert (other.status, len(other.stderr.splitlines())) == (1, 1)
    a.unmount().check()
    assert keys_seen(a.lab) == []
