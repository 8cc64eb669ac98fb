"""What each open option does natively, between two hosts on a tgtd: two daemons with two sessions each, and FUSE."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mpio_fuse import openx
from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.native.host import Host
from tests.native.site import KEYS, Site
from tests.reliability.command import wait_for

TYPE = "Exclusive Access, registrants only"
RELEASE_LIMIT_S = 30.0


@contextmanager
def opened(host: Host, words: str = "", flags: int = os.O_RDWR) -> Iterator[int]:
    fd = os.open(host.with_options(words) if words else host.lun, flags)
    try:
        yield fd
    finally:
        with suppress(OSError):  # a fenced file's last flush
            os.close(fd)


def holder(site: Site) -> str:
    """The array's own answer, over a session that belongs to neither host's daemon."""
    url = site.tgtd.url()
    return re.sub("^naa.*\n", "", site.a.command("persist", "read-reservation", url))


def holder_line(key: int) -> str:
    return f"reservation: key 0x{key:016x}, type 6, {TYPE}"


def wait_until_free(site: Site) -> None:
    """close(2) returns before the daemon knows of it."""
    wait_for(lambda: "none" in holder(site), RELEASE_LIMIT_S, "the reservation's release")


def test_both_hosts_find_one_lun_and_register_all_underpaths(site: Site) -> None:
    assert site.a.lun.name == site.b.lun.name
    for host in (site.a, site.b):  # one that was fenced registers at its next open
        with opened(host):
            pass
        wait_until_free(site)
    keys = site.a.command("persist", "read-keys", site.tgtd.url())
    assert {f"0x{key:016x}  2" for key in KEYS.values()} <= set(keys.splitlines())


def test_an_open_reserves_and_the_last_close_releases(site: Site) -> None:
    with opened(site.a), opened(site.a):
        assert holder_line(KEYS["a"]) in holder(site)
        assert site.a.status()["reservation"]["owner"] == "ours"
    wait_until_free(site)


REFUSED = {
    "": errno.EIO,
    "no-reserve": errno.EBUSY,
    "retain": errno.EBUSY,
    "single": errno.EIO,
}


@pytest.mark.parametrize(("words", "expected"), REFUSED.items())
def test_without_force_another_hosts_lun_stays_closed(
    site: Site, words: str, expected: int
) -> None:
    with opened(site.a):
        with pytest.raises(OSError, match=re.escape(os.strerror(expected))) as refused:
            os.close(openx(site.b.lun, os.O_RDWR, words or OpenOption.DEFAULT))
        assert refused.value.errno == expected
        assert holder_line(KEYS["a"]) in holder(site)
    wait_until_free(site)


@pytest.mark.parametrize(
    ("words", "flag", "reserves"),
    [
        ("no-reserve", os.O_NONBLOCK, False),
        ("retain", os.O_NOATIME, True),
        ("single", os.O_NOFOLLOW, True),
        ("forced", os.O_ASYNC, True),
    ],
)
def test_a_free_lun_opens_with_every_option_by_directory_and_by_flag(
    site: Site, words: str, flag: int, *, reserves: bool
) -> None:
    for said, flags in ((words, os.O_RDWR), ("", os.O_RDWR | flag)):
        with opened(site.a, said, flags) as fd:
            assert os.pread(fd, 512, 0) is not None
            assert (holder_line(KEYS["a"]) in holder(site)) is reserves
        if words == "retain":
            site.a.wait_until(lambda lun: lun["retained"] and not lun["opens"], "it to be retained")
            site.a.command("release", site.a.lun.name)
        wait_until_free(site)


def test_what_was_retained_keeps_others_out_until_it_is_given_back(site: Site) -> None:
    with opened(site.a, "retain"):
        pass
    site.a.wait_until(lambda lun: not lun["opens"], "its close")
    assert holder_line(KEYS["a"]) in holder(site)
    with pytest.raises(OSError, match="Input/output error"), opened(site.b):
        pass
    site.a.command("release", site.a.lun.name)
    with opened(site.b):
        assert holder_line(KEYS["b"]) in holder(site)
    wait_until_free(site)


def test_single_keeps_this_hosts_other_programs_out(site: Site) -> None:
    with opened(site.a, "single"), pytest.raises(PermissionError), opened(site.a):
        pass
    wait_until_free(site)


@pytest.mark.hazard(20)
def test_a_forced_open_on_a_target_without_preempt_and_abort_resets_the_lun(site: Site) -> None:
    with opened(site.a):
        before = site.b.log()
        with opened(site.b, "forced"):
            assert holder_line(KEYS["b"]) in holder(site)
            said = site.b.log()[len(before) :]
            order = ("persistent reserve out, preempt", "logical unit reset", "opened ")
            assert [said.index(one) for one in order] == sorted(said.index(one) for one in order)
    wait_until_free(site)


def test_unmounting_leaves_nothing_at_the_target_and_mounting_finds_it_again(site: Site) -> None:
    site.b.unmount()
    keys = site.a.command("persist", "read-keys", site.tgtd.url())
    assert f"0x{KEYS['b']:016x}" not in keys
    site.mount("b")
    assert site.b.lun.name == site.a.lun.name


def test_unmounting_ends_the_daemon_though_another_mount_namespace_has_a_copy_of_the_mount(
    site: Site,
) -> None:
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "echo made; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "made\n"
        site.b.unmount()
        mounts = Path(f"/proc/{other.pid}/mountinfo").read_text()
        assert str(site.b.mountpoint) in mounts
        other.communicate("\n")
    keys = site.a.command("persist", "read-keys", site.tgtd.url())
    assert f"0x{KEYS['b']:016x}" not in keys
    site.mount("b")


def test_discover_groups_what_portals_and_cables_lead_to(site: Site) -> None:
    found = site.a.command("discover", *site.urls("a"), *site.urls("b"))
    assert found.count(site.a.lun.name) == 1
    assert all(url in found for url in site.urls("a") + site.urls("b"))


def test_a_second_daemon_with_the_key_of_the_first_is_refused(site: Site, tmp_path: Path) -> None:
    """To the array both would be one host, each the owner, and neither would notice the other."""
    double = Host("double", KEYS["a"], tmp_path / "double").make()
    config, mountpoint = str(double.directory / "config.toml"), str(double.mountpoint)
    words = ["mount", mountpoint, "--config", config, "--key", f"{double.key:x}", site.tgtd.url()]
    refused = double.attempt(*words)
    assert refused.returncode == 1
    assert "another mpio-fuse of this host serves it with the same key" in refused.stderr
    with opened(site.a):  # whose registrations stand
        assert holder(site).startswith(holder_line(KEYS["a"]))
