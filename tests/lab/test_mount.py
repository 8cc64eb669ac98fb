"""mount, status and unmount on real sg nodes, LIO behind them, two hosts; sg_persist is the independent witness."""

import pytest

from tests.lab.host import Host, keys_seen, witness
from tests.lab.job import Result
from tests.lab.lab import Lab

MIB = 1 << 20


@pytest.fixture
def a(lab: Lab) -> Host:
    return Host(lab, "a")


@pytest.fixture
def b(lab: Lab) -> Host:
    return Host(lab, "b")


def _line(result: Result) -> str:
    (line,) = result.stderr.splitlines()
    assert line.startswith("mpio-fuse: ")
    return line


def test_data_travels_over_both_underpaths_and_comes_back(a: Host) -> None:
    a.mount().check()
    a.run("head -c 16M /dev/urandom > /tmp/image; dd if=/tmp/image of=$LUN bs=1M").check()
    a.run("dd if=$LUN bs=1M count=16 iflag=direct status=none | cmp - /tmp/image").check()
    underpaths = a.lun()["underpaths"]
    assert sorted(one["device"] for one in underpaths) == sorted(a.nodes)
    assert all(one["bytes_read"] >= 4 * MIB for one in underpaths)
    assert all(one["bytes_written"] >= 4 * MIB for one in underpaths)
    assert sum(one["bytes_written"] for one in underpaths) == 16 * MIB


def test_an_open_file_shuts_the_other_host_out_until_it_is_closed(a: Host, b: Host) -> None:
    a.mount().check()
    b.mount().check()
    a.run("mkfifo /tmp/fifo").check()
    holding = a.lab.spawn(
        f"exec 3<>$(echo {a.root}/naa.*); echo data-of-a >&3; sync -d /proc/self/fd/3; read _ < /tmp/fifo",
    )
    a.run("until grep -q data-of-a $LUN; do :; done").check()
    assert a.lun()["reservation"]["owner"] == "ours"
    assert b.run("head -c 9 $LUN").stderr.strip().endswith("Input/output error")
    full = witness(a.lab, "--read-full-status")
    assert full.count("Key=0xa") == full.count("Key=0xb") == 2
    assert full.count("<< Reservation holder >>") == 1
    assert "Exclusive Access, registrants only" in full
    a.run("echo > /tmp/fifo").check()
    holding.wait(30).check()
    a.await_release()
    assert b.run("head -c 9 $LUN").check().stdout == "data-of-a"


def test_unmount_leaves_no_registration(a: Host) -> None:
    a.mount().check()
    assert "0xa" in keys_seen(a.lab)
    a.run(f"head -c 1 $LUN; mpio-fuse unmount {a.root}").check()
    assert "NO registered reservation keys" in witness(a.lab, "--read-keys")


def test_after_kill_9_the_reservation_is_ours_and_kept(a: Host, b: Host) -> None:
    a.mount().check()
    b.mount().check()
    victim = a.run(
        "exec 3<$LUN; kill -9 $(cat $MPIO_FUSE_RUN_DIR/*.lock); dd of=/dev/null <&3 bs=1M skip=32"
    )
    assert "Transport endpoint is not connected" in victim.stderr
    a.mount().check()
    assert a.lun()["reservation"] == {
        "owner": "ours",
        "holder": "0x000000000000000a",
        "type": "Exclusive Access, registrants only",
    }
    assert "Key=0xa" in witness(a.lab, "--read-reservation")
    assert b.run("head -c 1 $LUN").status != 0
    a.run("head -c 1 $LUN").check()


def test_a_file_system_lives_on_it(a: Host) -> None:
    a.mount().check()
    a.run(
        "set -e; mkdir -p /tmp/disk; LOOP=$(losetup --find --show --direct-io=on $LUN);"
        "mkfs.ext4 -q $LOOP; mount $LOOP /tmp/disk; head -c 8M /dev/urandom > /tmp/disk/file;"
        "SUM=$(md5sum < /tmp/disk/file); umount /tmp/disk; mount $LOOP /tmp/disk;"
        '[ "$SUM" = "$(md5sum < /tmp/disk/file)" ]; umount /tmp/disk; losetup -d $LOOP;'
        f"mpio-fuse unmount {a.root}"
    ).check()


def test_fio_verifies_what_it_wrote_at_random(a: Host) -> None:
    a.mount().check()
    a.run(
        "fio --name=x --filename=$LUN --rw=randwrite --bs=512-64k --size=16M --iodepth=8"
        " --ioengine=libaio --direct=1 --verify=crc32c --output=/tmp/fio"
    ).check()


def test_a_lun_on_a_disk_in_use_is_refused_by_name(a: Host) -> None:
    disk = a.lab.blocks("a")[0]
    a.run(f"mkfs.ext4 -q {disk}; mkdir -p /tmp/used; mount {disk} /tmp/used").check()
    refused = a.mount()
    assert refused.status == 1
    assert "in use on this host" in refused.stderr
    assert "mounted on" in refused.stderr


def test_a_disk_in_use_that_was_not_named_keeps_its_lun_out(a: Host) -> None:
    """A file system is mounted over one node; the other node, alone, reaches the same blocks."""
    disk, other = a.lab.blocks("a")[0], a.nodes[1]
    a.run(f"mkfs.ext4 -q {disk}; mkdir -p /tmp/used; mount {disk} /tmp/used").check()
    try:
        refused = a.mount(other)
        assert refused.status == 1
        used = f"{other}: in use on this host: {disk.removeprefix('/dev/')} is mounted on /tmp/used"
        assert used in _line(refused)
    finally:
        a.run("umount /tmp/used").check()
    a.mount(other).check()


def test_another_host_s_daemon_on_nodes_that_were_not_named_is_no_user(a: Host, b: Host) -> None:
    a.mount(a.nodes[0]).check()
    b.mount().check()
    a.unmount().check()
    a.mount(a.nodes[1]).check()


def test_a_lun_that_a_daemon_serves_is_told_once_with_its_mountpoint(a: Host) -> None:
    a.mount().check()
    refused = a.run(f"mkdir /tmp/second; mpio-fuse mount /tmp/second --key 0xa {' '.join(a.nodes)}")
    assert refused.status == 1
    assert _line(refused).count(f"served by mpio-fuse at {a.root} (pid ") == 1


def test_a_named_node_that_is_offline_is_left_out(a: Host) -> None:
    offline, other = a.nodes
    state = f"/sys/class/scsi_generic/{offline.removeprefix('/dev/')}/device/state"
    a.run(f"echo offline > {state}").check()
    try:
        mounted = a.mount()
        assert mounted.status == 0
        assert f"warning: left out: {offline}: " in _line(mounted)
        assert [one["device"] for one in a.lun()["underpaths"]] == [other]
        a.unmount().check()
        alone = a.mount(offline)
        assert alone.status == 1
        assert _line(alone).startswith(f"mpio-fuse: {offline}: ")
    finally:
        a.run(f"echo running > {state}").check()


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("/dev/sg99", "/dev/sg99: no such device node"),
        ("/dev/null", "/dev/null: not a SCSI generic node"),
        ("/etc/passwd", "/etc/passwd: not a SCSI generic node"),
    ],
)
def test_a_node_that_is_none_is_one_line(a: Host, node: str, words: str) -> None:
    refused = a.mount(node)
    assert refused.status in (1, 2)
    assert words in _line(refused)


def test_without_permission_it_says_so(a: Host) -> None:
    refused = a.run(
        "mkdir -p -m 777 /tmp/run-nobody /tmp/mnt-nobody; chown 65534 /tmp/run-nobody;"
        " MPIO_FUSE_RUN_DIR=/tmp/run-nobody setpriv --reuid 65534 --clear-groups"
        f" mpio-fuse mount /tmp/mnt-nobody {a.nodes[0]} --key 1"
    )
    assert refused.status == 1
    assert "ermission" in _line(refused)


def test_without_fuse_it_says_what_to_install(a: Host) -> None:
    refused = a.run(
        f"mkdir -p {a.root}; unshare --mount sh -c 'mount -t tmpfs none /dev;"
        f" mpio-fuse mount {a.root} --foreground --key 1'"
    )
    assert refused.status == 1
    assert "no FUSE here" in _line(refused)
    assert "modprobe fuse" in _line(refused)
