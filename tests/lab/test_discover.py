"""discover on real sg nodes: LIO's LUN for two hosts, disks in use, nodes that are no disks."""

import json
from typing import Any

import pytest

from tests.lab.lab import Lab


def document(lab: Lab, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(lab.mpio_fuse("discover", "--json", *arguments).check().stdout))


def _underpath(one: dict[str, Any]) -> tuple[str, ...]:
    nexus = one["nexus"]
    kernel = (one["device_node"], one["address"], one["block_device"], one["transport"])
    return (*kernel, nexus["initiator"], nexus["portal"])


def refusal(lab: Lab, *arguments: str) -> str:
    """The one line on stderr of a discover that fails."""
    result = lab.mpio_fuse("discover", *arguments)
    assert result.status == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("mpio-fuse: ")
    return line


def test_each_host_has_one_lun_with_two_underpaths(lab: Lab) -> None:
    for host in ("a", "b"):
        (lun,) = document(lab, *lab.nodes(host))["luns"]
        found = {_underpath(one) for one in lun["underpaths"]}
        assert found == {
            (one.sg, one.hctl, one.block.removeprefix("/dev/"), "iscsi", one.initiator, one.portal)
            for one in lab.report.select(host)
        }
        assert len(found) == 2
        assert lun["size_bytes"] == 64 << 20
        assert lun["has_persistent_reserve"] is True
        assert lun["wwid"].startswith("naa.6001405")


def test_a_scan_finds_all_nodes(lab: Lab) -> None:
    (lun,) = document(lab)["luns"]
    found = {one["device_node"] for one in lun["underpaths"]}
    assert found == {*lab.nodes("a"), *lab.nodes("b")}


def test_a_lun_that_another_host_has_reserved(lab: Lab) -> None:
    lab.run(
        "for node in $A_NODES; do sg_persist -n -o --register-ignore --param-sark=0xa1 $node; done;"
        " sg_persist -n -o --reserve --param-rk=0xa1 --prout-type=6 ${A_NODES%% *}"
    ).check()
    shown = lab.mpio_fuse("discover", *lab.nodes("b")).check().stdout
    assert "size: unknown: reserved by another host" in shown
    assert "reservation: Exclusive Access, registrants only, by key 0x00000000000000a1" in shown
    assert "registrations: key 0x00000000000000a1 on 2 nexuses" in shown
    (lun,) = document(lab, *lab.nodes("a"))["luns"]
    assert lun["size_bytes"] == 64 << 20


USES = {
    "a mount": ("mkfs.ext4 -q {0} && mkdir -p /tmp/m && mount {0} /tmp/m", "umount /tmp/m", "mounted on /tmp/m"),
    "swap": ("mkswap -q {0} && swapon {0}", "swapoff {0}", "used as swap"),
    "a loop device": ("losetup /dev/loop7 {0}", "losetup -d /dev/loop7", "held by loop7"),
    "a mapping": ("modprobe dm-mod && echo '0 8192 linear {0} 0' | dmsetup create lab-map --noudevsync",
                  "dmsetup remove --noudevsync lab-map", "(lab-map)"),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_a_disk_in_use_is_refused_by_name_with_all_its_nodes(lab: Lab, use: str) -> None:
    begin, end, said = USES[use]
    used, other = lab.nodes("a")
    block = lab.blocks("a")[0]
    lab.run(begin.format(block)).check()
    try:
        line = refusal(lab, used)
        assert f"{used}: in use on this host: {block.removeprefix('/dev/')} is " in line
        assert said in line
        both = lab.mpio_fuse("discover", used, other)
        assert both.status == 1
        assert [line.count(said) for line in both.stderr.splitlines()] == [1]
        scan = document(lab)
        assert scan["luns"] == []
        assert {one["device_node"] for one in scan["refused"]} == {*lab.nodes("a"), *lab.nodes("b")}
    finally:
        lab.run(end.format(block)).check()
    assert len(document(lab, used)["luns"]) == 1


def test_a_program_s_exclusive_claim(lab: Lab) -> None:
    block = lab.blocks("a")[0]
    text = f"import os, sys; os.open('{block}', os.O_RDONLY | os.O_EXCL); print('held', flush=True); sys.stdin.read()"
    holder = lab.spawn(f'sleep 1000 | python -c "{text}"')
    try:
        holder.wait_for_output("held")
        line = refusal(lab, lab.nodes("a")[0])
        assert "claimed exclusively, and open in python" in line
    finally:
        holder.kill()


def test_what_is_no_disk(lab: Lab) -> None:
    lab.run("modprobe scsi_debug ptype=13 max_luns=1").check()
    try:
        found = lab.run("lsscsi -g | awk '/enclosu/ {print $NF}'").check()
        node = found.stdout.strip()
        assert f"{node}: not a disk: an enclosure" in refusal(lab, node)
        assert document(lab)["refused"] == [
            {"device_node": node, "reason": "not a disk: an enclosure"}
        ]
    finally:
        lab.run("rmmod scsi_debug").check()


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("/dev/sg99", "no such device node"),
        ("/dev/null", "not a SCSI generic node"),
        ("/etc/passwd", "not a SCSI generic node but a file"),
    ],
)
def test_what_is_no_node(lab: Lab, device: str, said: str) -> None:
    line = refusal(lab, device)
    assert line.startswith(f"mpio-fuse: {device}: ")
    assert said in line


def test_a_url_that_is_none_is_wrong_usage(lab: Lab) -> None:
    result = lab.mpio_fuse("discover", "iscsi://10.0.0.1/iqn.2026-01.x")
    (line,) = result.stderr.splitlines()
    assert result.status == 2
    assert "no target and LUN in this URL" in line


def test_a_block_device_is_no_sg_node(lab: Lab) -> None:
    assert "not a SCSI generic node but a block device" in refusal(lab, lab.blocks("a")[0])


def test_no_permission(lab: Lab) -> None:
    """As somebody who is not root, once all is imported: not everybody may read where Python is."""
    node = lab.nodes("a")[0]
    drop = "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.environ['HOME'] = '/'"
    load = "from mpio_fuse.cli import discover, main"
    for arguments in (["discover", node], ["discover"]):
        result = lab.python("-c", f"{load}; {drop}; main.main(sys.argv[1:])", *arguments)
        assert result.status == 1
        assert "no permission to open it" in result.stderr
        assert "run as root or as a member of the node's group" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_node_by_another_name_is_one_underpath(lab: Lab) -> None:
    node = lab.nodes("a")[0]
    lab.run(f"ln -s {node} /tmp/disk").check()
    (lun,) = document(lab, "/tmp/disk", node)["luns"]  # noqa: S108 - the guest's
    assert [one["device_node"] for one in lun["underpaths"]] == ["/tmp/disk"]  # noqa: S108
