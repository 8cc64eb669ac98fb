"""Every option in every way to say it, on LIO over iSCSI; sg_persist on another host is the witness."""

import json
from typing import Any

import pytest

from tests.lab.host import Host, keys_seen, witness
from tests.lab.lab import Lab

WAYS = ("flag", "directory", "openx")

FREE: dict[str, dict[str, Any]] = {
    "default": {"errno": None, "holder": "0xa", "beside": None, "after": None, "retained": False},
    "no-reserve": {"errno": None, "holder": None, "beside": None, "after": None, "retained": False},
    "single": {
        "errno": None,
        "holder": "0xa",
        "beside": "EACCES",
        "after": None,
        "retained": False,
    },
    "forced": {"errno": None, "holder": "0xa", "beside": None, "after": None, "retained": False},
    "retain": {"errno": None, "holder": "0xa", "beside": None, "after": "0xa", "retained": True},
    "forced+retain": {
        "errno": None,
        "holder": "0xa",
        "beside": None,
        "after": "0xa",
        "retained": True,
    },
}
"""What an open of a LUN nobody holds comes to, see `tests.lab.open_by`."""

REFUSED = {"default": "EIO", "no-reserve": "EBUSY", "retain": "EBUSY", "single": "EIO"}
"""The errno when another host holds it."""


@pytest.fixture
def a(lab: Lab) -> Host:
    return Host(lab, "a")


def opened(host: Host, way: str, *options: str) -> list[dict[str, Any]]:
    """What came of opens one after the other, each closed again."""
    words = " ".join(options)
    command = f"python -m tests.lab.open_by {way} $LUN {host.lab.nodes('b')[0]} {words}"
    found: list[dict[str, Any]] = json.loads(host.run(command).check().stdout)
    return found


def reserve_as_b(lab: Lab) -> None:
    """Host b's program registers and reserves; it is not ours."""
    node = lab.nodes("b")[0]
    lab.run(
        f"sg_persist -n --out --register-ignore --param-sark=0xb {node} &&"
        f" sg_persist -n --out --reserve --param-rk=0xb --prout-type=6 {node}"
    ).check()


def holder(lab: Lab) -> str | None:
    said = witness(lab, "--read-reservation")
    return said.partition("Key=")[2].split()[0] if "Key=" in said else None


def default_to(host: Host, options: str) -> None:
    """Mount with these options as the LUN's default."""
    report = json.loads(host.run(f"mpio-fuse discover --json {host.nodes[0]}").check().stdout)
    (lun,) = report["luns"]
    host.mount(config=f'[luns."{lun["wwid"]}"]\nopen = "{options}"\n').check()


@pytest.mark.parametrize("way", WAYS)
def test_each_option_on_a_free_lun(a: Host, way: str) -> None:
    a.mount().check()
    assert opened(a, way, *FREE) == list(FREE.values())
    a.unmount().check()
    assert holder(a.lab) == "0xa"


@pytest.mark.parametrize("way", WAYS)
def test_each_option_on_another_hosts_lun(a: Host, way: str) -> None:
    a.mount().check()
    reserve_as_b(a.lab)
    *refused, forced = opened(a, way, *REFUSED, "forced")
    assert refused == [{"errno": code, "after": "0xb"} for code in REFUSED.values()]
    assert forced == FREE["forced"]
    assert "0xb" not in keys_seen(a.lab)


@pytest.mark.parametrize("options", FREE)
def test_each_option_as_the_luns_configured_default(a: Host, options: str) -> None:
    default_to(a, options)
    assert opened(a, "configured", options) == [FREE[options]]


def test_a_configured_default_takes_over_too_and_gives_way_to_what_an_open_names(a: Host) -> None:
    default_to(a, "forced")
    reserve_as_b(a.lab)
    for way in WAYS:
        assert opened(a, way, "single") == [{"errno": "EIO", "after": "0xb"}]
    assert opened(a, "configured", "forced") == [FREE["forced"]]


def test_a_flag_remapped_in_the_configuration(a: Host) -> None:
    a.mount(config='[open_flags]\nO_NOATIME = "single"\nO_NOFOLLOW = "default"\n').check()
    single, default = opened(a, "flag", "retain", "single")
    assert (single, default) == (FREE["single"], FREE["default"])


AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups head -c 1"


def test_forcing_takes_root_or_the_configured_group(a: Host) -> None:
    a.mount(config="mode = 0o666\n").check()
    reserve_as_b(a.lab)
    commands = [
        f"{AS_NOBODY} {a.root}/.ext/{directory}/$(basename $LUN)"
        for directory in ("forced", "retain+forced")
    ]
    for command in commands:
        assert "Operation not permitted" in a.run(command).stderr
    assert holder(a.lab) == "0xb"
    log = a.run("cat /tmp/run-a/*.log").check().stdout
    lines = [one for one in log.splitlines() if "may not force" in one]
    assert len(lines) == len(commands)
    assert all("errno=EPERM" in line and "uid=65534" in line for line in lines)
    a.unmount().check()
    a.mount(config="mode = 0o666\nforced_open_group = 65534\n").check()
    a.run(commands[0]).check()
    assert "0xb" not in keys_seen(a.lab)


def test_a_file_system_lives_on_a_lun_opened_through_a_directory(a: Host) -> None:
    """Also beside another open by another name, when nothing of it is cached."""
    a.mount().check()
    a.run(
        "set -e; mkdir -p /tmp/disk; exec 3<$LUN;"
        f"LOOP=$(losetup --find --show --direct-io=on {a.root}/.ext/retain/$(basename $LUN));"
        "mkfs.ext4 -q $LOOP; mount $LOOP /tmp/disk; head -c 8M /dev/urandom > /tmp/disk/file;"
        "SUM=$(md5sum < /tmp/disk/file); umount /tmp/disk; losetup -d $LOOP; exec 3<&-;"
        f"LOOP=$(losetup --find --show {a.root}/.ext/retain/$(basename $LUN)); mount $LOOP /tmp/disk;"
        '[ "$SUM" = "$(md5sum < /tmp/disk/file)" ]; umount /tmp/disk; losetup -d $LOOP;'
        f"mpio-fuse unmount {a.root}"
    ).check()
    assert holder(a.lab) == "0xa"
