"""persist, explain, release and status of a LUN that a daemon serves; the array is simulated, FUSE is real."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from mpio_fuse.cli import main, persist
from mpio_fuse.daemon import background
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import SimulatedTransport
from tests.device.world import KEYS

HERE = (sys.executable, "-m", "tests.daemon.serve_simulated")


@attrs.frozen
class Terminal:
    root: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: object, status: int = 0) -> str:
        """What it printed, of which stderr if it was to fail; that it ended with ``status``."""
        self.capture.readouterr()
        assert main.run([str(one) for one in arguments]) == status
        return self.capture.readouterr()[1 if status else 0]

    def document(self, *arguments: object) -> dict[str, Any]:
        return dict(json.loads(self.run(*arguments, "--json")))

    def lun(self) -> dict[str, Any]:
        (daemon,) = self.document("status")["daemons"]
        return dict(daemon["luns"][0])

    @contextmanager
    def opened(self, flags: int = 0) -> Iterator[None]:
        """Have it open; returns once the daemon knows of the close."""
        fd = os.open(self.root / "disk", os.O_RDWR | flags)
        yield
        os.close(fd)
        while self.lun()["opens"]:
            pass


@pytest.fixture
def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    monkeypatch.setattr(background.start, "__defaults__", (HERE,))
    root = tmp_path / "mnt"
    root.mkdir()
    with tempfile.TemporaryDirectory(prefix="mpio-") as run_directory:  # a socket's name is short
        monkeypatch.setenv("MPIO_FUSE_RUN_DIR", run_directory)
        yield Terminal(root, capsys)
        main.run(["unmount", "--force", str(root)])
        capsys.readouterr()


def test_status_tells_since_when_it_is_retained(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    before = terminal.lun()
    assert (before["retained"], before["retained_since"]) == (False, None)
    with terminal.opened(os.O_NOATIME):
        pass
    lun = terminal.lun()
    assert (lun["retained"], lun["retained_from_before"]) == (True, False)
    (daemon,) = terminal.document("status")["daemons"]
    assert lun["retained_since"] >= daemon["started"]
    assert ", retained since 20" in terminal.run("status", "disk")


def test_status_tells_what_was_there_before(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "ours")
    lun = terminal.lun()
    assert (lun["retained"], lun["retained_from_before"]) == (True, True)
    assert (
        f"reservation: ours (kept from before this daemon started), key {KEYS['a']}"
        in terminal.run("status")
    )


def test_release_gives_up_what_was_retained(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with terminal.opened(os.O_NOATIME):
        said = terminal.run("release", "disk", status=1)
        assert "disk: open on this host; the last close releases it" in said
    assert terminal.lun()["reservation"]["owner"] == "ours"
    assert terminal.run("release", "disk") == ""
    assert terminal.lun()["reservation"]["owner"] == "none"
    assert "nobody holds it" in terminal.run("release", terminal.lun()["wwid"], status=1)


def test_release_of_another_hosts_says_whose_it_is(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "theirs")
    assert f"reserved by key {KEYS['b']}" in terminal.run("release", "disk", status=1)


def test_a_lun_that_nobody_serves(terminal: Terminal) -> None:
    hint = "'mpio-fuse mount MOUNTPOINT' starts a daemon"
    assert hint in terminal.run("release", "disk", status=1)
    terminal.run("mount", terminal.root)
    said = terminal.run("explain", "default", "disk9", status=1)
    assert said == "mpio-fuse: no daemon serves a LUN disk9; served: disk\n"


def test_explain_asks_the_daemon(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with terminal.opened():
        told = terminal.document("explain", "single", "disk")
        assert (told["error"], told["reason"]) == ("EBUSY", "already open on this host")
        told = terminal.document("explain", "retain", "disk")
        assert (told["is_ours"], told["opens"], told["error"]) == (True, ["default"], None)
    told = terminal.document("explain", "default", "disk")
    assert [step["box"] for step in told["steps"]] == ["1110", "1130", "1150", "1180"]
    assert told["steps"][2]["commands"][0]["underpath"] == "a1"


def test_explain_tells_people_whom_a_forced_open_shuts_out(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "theirs")
    text = terminal.run("explain", "forced+retain", "disk")
    for part in (
        "open disk with retain+forced\n",
        f"now: not ours, key {KEYS['b']}, type 6, Exclusive Access, registrants only\n",
        "Figure 8, forced open:\n",
        "  3. box 840: preempt and abort the key just read: good\n",
        f"a1  PREEMPT AND ABORT key {KEYS['b']}, by key {KEYS['a']}\n",
        "=> the open succeeds\n",
        f"removes the registration of key {KEYS['b']} of iqn.host-b,i,0x",
        ", which holds the reservation\n",
        "the last close keeps the reservation\n",
    ):
        assert part in text
    refused = terminal.run("explain", "default", "disk")
    assert (
        f"=> the open fails with EIO (Input/output error): reserved by key {KEYS['b']}" in refused
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["forced+no-reserve", "disk"], "NO_RESERVE goes with no other option"),
        (["forcibly", "disk"], "there is no open option 'forcibly'"),
        (["default"], "name a LUN that a daemon serves, or its nodes with --device"),
        (["default", "disk", "--device", "/dev/sg1"], "name a LUN"),
        (["default", "disk", "--key", "1"], "--key goes with --device"),
    ],
)
def test_explain_of_what_makes_no_sense(
    terminal: Terminal, arguments: list[str], words: str
) -> None:
    said = terminal.run("explain", *arguments, status=2)
    assert words in said
    assert said.count("\n") == 1


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> LogicalUnitModel:
    """The same LUN by a node of this host: what is done to it would reach the daemon's disk."""
    model = LogicalUnitModel()

    async def open_node(device: str) -> SimulatedTransport:
        await trio.lowlevel.checkpoint()
        return SimulatedTransport(model, Nexus("iqn.host-a", 7), name=device)

    monkeypatch.setattr(persist, "OPEN", open_node)
    return model


def _opcodes(model: LogicalUnitModel) -> set[int]:
    return {entry.cdb[0] for entry in model.log}


def test_reading_a_served_lun_goes_through_its_daemon(
    terminal: Terminal, node: LogicalUnitModel
) -> None:
    terminal.run("mount", terminal.root, "theirs")
    found = terminal.document("persist", "read-reservation", "/dev/sg7")
    assert found["reservation"]["holder"] == str(KEYS["b"])
    assert _opcodes(node) == {0x12}


def test_changing_a_served_lun_is_refused_unless_forced(
    terminal: Terminal, node: LogicalUnitModel
) -> None:
    terminal.run("mount", terminal.root)
    said = terminal.run("persist", "clear", "--key", "1", "/dev/sg7", status=1)
    assert f"disk: served by the daemon of {terminal.root}: clear could take" in said
    said = terminal.run("persist", "release", "--key", "1", "/dev/sg7", status=1)
    assert f"'mpio-fuse release {terminal.root}/disk' gives back" in said
    assert _opcodes(node) == {0x12}
    terminal.run("persist", "register", "--new-key", "1", "--force", "/dev/sg7")
    assert [str(one.key) for one in node.persistent.registered] == ["0x0000000000000001"]


def test_explain_of_nodes_of_a_served_lun_names_the_lun(
    terminal: Terminal, node: LogicalUnitModel
) -> None:
    terminal.run("mount", terminal.root)
    said = terminal.run("explain", "forced", "--device", "/dev/sg7", "--key", "1", status=1)
    assert f"'mpio-fuse explain forced {terminal.root}/disk' asks it" in said


def test_explain_of_a_single_path_is_of_no_figure(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "debug")
    text = terminal.run("explain", "default", "disk")
    assert "now: a SCSI-2 reservation, if any, cannot be read\n" in text
    assert "  1. reserve" in text
    assert "box" not in text
    with terminal.opened():
        text = terminal.run("explain", "default", "disk")
        assert "now: reserved by this host; open here: default\n" in text


def test_registrations_that_look_alike_are_told_once(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "theirs", "tgt")
    (line,) = [
        line for line in terminal.run("explain", "forced", "disk").splitlines() if "removes" in line
    ]
    key = KEYS["b"]
    what = f"the registration of key {key}, which holds the reservation (2 of them)"
    assert line == f"   removes {what}"


def test_an_underpath_is_failed_and_reinstated(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    terminal.run("underpath", "fail", "disk", "a1")
    failed, other = terminal.lun()["underpaths"]
    assert (failed["state"], failed["failed_by_hand"], failed["carries"]) == ("down", True, "no")
    assert (other["state"], other["failed_by_hand"], other["carries"]) == ("up", False, "yes")
    assert "a1         down, by hand  active/optimized  no" in terminal.run("status", "disk")
    error = terminal.run("underpath", "fail", "disk", "a7", status=1)
    assert "a7: no such underpath" in error
    terminal.run("underpath", "reinstate", "disk", "a1")
    assert [one["state"] for one in terminal.lun()["underpaths"]] == ["up", "up"]
    assert (terminal.lun()["selector"], terminal.lun()["failback"]) == ("round-robin", "immediate")


def test_a_single_path_is_a_warning_and_marked(terminal: Terminal) -> None:
    assert main.run(["mount", str(terminal.root), "debug"]) == 0
    assert terminal.capture.readouterr()[1] == (
        "mpio-fuse: warning: disk: single path: served over a1 alone, without failover, and reserved with SCSI-2 "
        "RESERVE(6); whether that keeps other hosts out is not known: some disks answer GOOD and do nothing\n"
    )
    assert terminal.lun()["single_path"] == {"carrier": "a1", "keeps_others_out": None}
    shown = terminal.run("status")
    assert "reservation: cannot be read (SCSI-2 RESERVE(6), single path)\n" in shown
    assert "single path: a1 carries all, no failover; whether the reservation keeps others" in shown
    assert " used " in shown
    assert "registered" not in shown


def test_a_path_below_a_mountpoint_names_a_lun(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    terminal.run("mount", terminal.root, "ours")
    terminal.run("mount", other, "ours")
    terminal.run("release", other / "disk")
    owners = {
        daemon["mountpoint"]: daemon["luns"][0]["reservation"]["owner"]
        for daemon in terminal.document("status")["daemons"]
    }
    assert owners == {str(terminal.root): "ours", str(other): "none"}
    assert "ours, key" in terminal.run("explain", "forced", terminal.root / "disk")
    assert "nobody holds it" in terminal.run("explain", "forced", other / "disk")
    terminal.run("unmount", other)


@pytest.mark.parametrize("is_open", [False, True])
def test_unmount_says_what_it_leaves_reserved(terminal: Terminal, *, is_open: bool) -> None:
    """Also where an open file is what retains it, and is cut off."""
    terminal.run("mount", terminal.root, "--key", KEYS["a"])
    fd = os.open(terminal.root / "disk", os.O_RDWR | os.O_NOATIME)
    if not is_open:
        os.close(fd)
        while terminal.lun()["opens"]:
            pass
    terminal.capture.readouterr()
    assert main.run(["unmount", "--force", str(terminal.root)]) == 0
    line = (
        f"{terminal.root}: disk: its reservation is retained, by key {KEYS['a']}; to give it back, "
        f"mount it again with key {KEYS['a']} and 'mpio-fuse release {terminal.root}/disk'\n"
    )
    assert terminal.capture.readouterr() == ("", line)
    if is_open:
        with suppress(OSError):
            os.close(fd)


def test_unmount_names_the_nexus_that_has_a_single_path_reserved(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root, "debug")
    with terminal.opened(os.O_NOATIME):
        pass
    terminal.capture.readouterr()
    assert main.run(["unmount", str(terminal.root)]) == 0
    assert "its reservation is retained, by the nexus of a1; to" in terminal.capture.readouterr()[1]


def test_unmount_is_silent_where_nothing_is_left(terminal: Terminal) -> None:
    terminal.run("mount", terminal.root)
    with terminal.opened():
        pass
    terminal.capture.readouterr()
    assert main.run(["unmount", str(terminal.root)]) == 0
    assert terminal.capture.readouterr() == ("", "")
