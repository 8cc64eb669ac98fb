"""Arrays without persistent reservations, and arrays whose PREEMPT cannot abort: scsi_debug and tgt."""

import json
import shlex

import pytest

from tests.lab.host import Host, keys_seen
from tests.lab.lab import Lab

STORY = {
    "a opens": "opened",
    "a writes": "written",
    "b opens": "EIO",
    "b forces": "opened",
    "b writes": "written",
    "a writes again": "EBADE",
    "a opens again": "EIO",
    "on the disk": "b",
    "a opens after b closed": "opened",
    "a reads": "b",
}


def _story(a: Host, b: Host) -> dict[str, str]:
    file = a.lun()["name"]
    command = f"python -m tests.lab.two_owners {a.root}/{file} {b.root}/{file}"
    told: dict[str, str] = json.loads(a.run(command).check().stdout)
    return told


@pytest.mark.fabric(kind="tgt", hosts=2, underpaths=2)
def test_a_forced_open_where_preempt_cannot_abort(lab: Lab) -> None:
    """PREEMPT, then a confirmed LOGICAL UNIT RESET."""
    a, b = Host(lab, "a"), Host(lab, "b")
    a.mount().check()
    b.mount().check()
    assert _story(a, b) == STORY
    log = b.run("cat /tmp/run-b/*.log").check().stdout
    assert "logical unit reset" in log


@pytest.mark.fabric(kind="tgt", hosts=2, underpaths=2)
def test_a_single_path_on_tgt(lab: Lab) -> None:
    """What tgt enforces as well; the configuration says to use it."""
    a, b = Host(lab, "a"), Host(lab, "b")
    found = json.loads(a.run(f"mpio-fuse discover --json {a.nodes[0]}").check().stdout)
    config = f'[luns."{found["luns"][0]["wwid"]}"]\nsingle_path = true\n'
    a.mount(config=config).check()
    b.mount(config=config).check()
    assert _story(a, b) == STORY
    assert keys_seen(lab) == []
    a.run(_held_until("keeps others out")).check()
    carriers = [one["registered"] for one in a.lun()["underpaths"]]
    assert sorted(carriers) == [False, True]


def _held_until(status_shows: str) -> str:
    """A command that has the LUN open until status says so."""
    return f"exec 8<$LUN; until mpio-fuse status | grep -q {shlex.quote(status_shows)}; do :; done"


@pytest.mark.fabric(kind="tgt", hosts=2, underpaths=2)
def test_beside_a_host_with_persistent_reservations_is_a_warning(lab: Lab) -> None:
    a, b = Host(lab, "a"), Host(lab, "b")
    b.mount().check()
    config = f'[luns."{b.lun()["wwid"]}"]\nsingle_path = true\n'
    warned = a.mount(config=config).check().stderr
    assert (
        "and this one do not keep each other out; configure it on all of them; registered" in warned
    )
    assert "registered there now: key 0x000000000000000b\n" in warned
    assert "  warning: " in a.run("mpio-fuse status").check().stdout


@pytest.mark.fabric(kind="scsi_debug", hosts=1)
def test_a_disk_whose_reservations_keep_nobody_out_is_told(lab: Lab) -> None:
    a = Host(lab, "a")
    warned = a.mount().check().stderr
    assert "single path: served over " in warned
    assert "whether that keeps other hosts out is not known" in warned
    a.run(_held_until("THE RESERVATION KEEPS NOBODY OUT")).check()
    log = a.run("cat /tmp/run-a/*.log").check().stdout
    assert "reservation keeps nobody out" in log


@pytest.mark.fabric(kind="scsi_debug", hosts=1)
def test_a_disk_without_persistent_reservations_is_served(lab: Lab) -> None:
    """scsi_debug answers RESERVE(6) with GOOD and does nothing; a reset of it works."""
    a = Host(lab, "a")
    found = a.run(f"mpio-fuse discover {a.nodes[0]}").check().stdout
    assert "single path with SCSI-2 RESERVE(6)" in found
    a.mount().check()
    lun = f"{a.root}/{a.lun()['name']}"
    a.run(
        f"dd if=/dev/urandom of=/tmp/data bs=64k count=4 && dd if=/tmp/data of={lun} bs=64k conv=fsync"
        f" && cmp -n 262144 /tmp/data {lun}"
    ).check()
    forced = f"import os, mpio_fuse; os.close(mpio_fuse.openx('{lun}', os.O_RDWR, 'forced'))"
    a.run(f'python -c "{forced}"').check()
    told = a.run(f"mpio-fuse explain forced {a.lun()['name']}").check().stdout
    assert "LOGICAL UNIT RESET" in told
    a.unmount().check()
