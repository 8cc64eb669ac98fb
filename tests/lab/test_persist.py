"""persist, explain and release against LIO and tgt; sg_persist is the independent witness."""

import json
import re
from typing import Any

import pytest

from tests.lab.host import Host, keys_seen, witness
from tests.lab.lab import Lab

A, B = "0x000000000000000a", "0x000000000000000b"
TYPE = "Exclusive Access, registrants only"


@pytest.fixture
def a(lab: Lab) -> Host:
    return Host(lab, "a")


@pytest.fixture
def b(lab: Lab) -> Host:
    return Host(lab, "b")


def _persist(lab: Lab, *words: str) -> dict[str, Any]:
    """The document of a persist that works."""
    return dict(json.loads(lab.mpio_fuse("persist", *words, "--json").check().stdout))


def _refusal(lab: Lab, *words: str) -> str:
    result = lab.mpio_fuse("persist", *words)
    assert result.status == 1
    (line,) = (one for one in result.stderr.splitlines() if ": note: " not in one)
    return line


def _generation(lab: Lab) -> str:
    found = re.search(r"PR generation=(0x[0-9a-f]+)", witness(lab, "--read-keys"))
    assert found is not None
    return found[1]


def _register_all(lab: Lab) -> None:
    _persist(lab, "register", "--new-key", "a", *lab.nodes("a"))
    _persist(lab, "register-ignore", "--new-key", "b", *lab.nodes("b"))


def test_what_persist_does_sg_persist_sees(lab: Lab) -> None:
    _register_all(lab)
    made = _persist(lab, "reserve", "--key", "a", "--type", "6", *lab.nodes("a"))
    assert sorted(made["keys"]) == [A, A, B, B]
    seen = witness(lab, "--read-reservation")
    assert "Key=0xa" in seen
    assert TYPE in seen
    made = _persist(lab, "preempt-abort", "--key", "b", "--victim", "a", *lab.nodes("b"))
    assert (made["reservation"]["holder"], made["keys"]) == (B, [B, B])
    assert "Key=0xb" in witness(lab, "--read-reservation")
    _persist(lab, "release", "--key", "b", *reversed(lab.nodes("b")))
    assert "there is NO reservation held" in witness(lab, "--read-reservation")
    _persist(lab, "clear", "--key", "b", lab.nodes("b")[0])
    assert "NO registered reservation keys" in witness(lab, "--read-keys")


def test_what_sg_persist_does_persist_sees(lab: Lab) -> None:
    lab.run(
        "sg_persist -n -o --register-ignore --param-sark=0xa1 ${A_NODES%% *};"
        " sg_persist -n -o --reserve --param-rk=0xa1 --prout-type=5 ${A_NODES%% *}"
    ).check()
    node = lab.nodes("b")[0]
    (one,) = _persist(lab, "read-full-status", node)["registrants"]
    assert (one["key"], one["is_holder"], one["type"]) == ("0x00000000000000a1", True, 5)
    assert one["transport_id"].startswith(lab.report.select("a")[0].initiator + ",i,0x")
    reservation = _persist(lab, "read-reservation", node)["reservation"]
    assert reservation["type_name"] == "Write Exclusive, registrants only"
    can = _persist(lab, "report-capabilities", node)["capabilities"]
    assert can["persist_through_power_loss"] is True


def test_conflicts_are_one_line_that_says_who_holds(lab: Lab) -> None:
    _register_all(lab)
    _persist(lab, "reserve", "--key", "a", *lab.nodes("a"))
    line = _refusal(lab, "reserve", "--key", "b", *lab.nodes("b"))
    assert f"RESERVATION CONFLICT, held by key {A} ({TYPE}); preempt that key" in line
    line = _refusal(lab, "release", "--key", "a", lab.nodes("a")[1])
    assert "RELEASE: GOOD, but nothing was released" in line
    assert "Key=0xa" in witness(lab, "--read-reservation")


@pytest.mark.fabric(kind="tgt")
def test_on_tgt(lab: Lab) -> None:
    """No READ FULL STATUS and no PREEMPT AND ABORT there."""
    _register_all(lab)
    _persist(lab, "reserve", "--key", "a", *lab.nodes("a"))
    assert "Key=0xa" in witness(lab, "--read-reservation")
    node = lab.nodes("b")[0]
    line = _refusal(lab, "read-full-status", node)
    assert "the target does not have PERSISTENT RESERVE IN, READ FULL STATUS" in line
    line = _refusal(lab, "preempt-abort", "--key", "b", "--victim", "a", node)
    assert f"ILLEGAL REQUEST 24/00 invalid field in CDB); the LUN is held by key {A}" in line
    assert "PREEMPT AND ABORT: the target does not take it (" in line
    assert line.endswith("; 'mpio-fuse persist report-capabilities' tells what it can")
    made = _persist(lab, "preempt", "--key", "b", "--victim", "a", node)
    assert made["reservation"]["holder"] == B


def test_a_served_lun_is_its_daemons(a: Host) -> None:
    a.mount().check()
    read = a.run(f"mpio-fuse persist read-keys --json {a.nodes[1]}").check()
    assert json.loads(read.stdout)["keys"] == [A, A]
    refused = a.run(f"mpio-fuse persist clear --key a {a.nodes[1]}")
    assert refused.status == 1
    assert "served by the daemon of /tmp/mnt-a: clear could take the disk" in refused.stderr
    assert witness(a.lab, "--read-keys").count("0xa") == 2


def _explain(host: Host, option: str) -> dict[str, Any]:
    told = host.run(f"mpio-fuse explain {option} $(basename $LUN) --json").check()
    return dict(json.loads(told.stdout))


def test_explain_tells_whom_a_forced_open_removes_and_the_open_does_it(a: Host, b: Host) -> None:
    a.mount().check()
    b.mount().check()
    a.run("sleep 1000 <$LUN >/dev/null 2>&1 &").check()
    while not a.lun()["opens"]:
        pass
    before = _generation(a.lab)
    default, forced = _explain(b, "default"), _explain(b, "forced")
    assert (default["error"], default["removed"]) == ("EIO", [])
    assert forced["error"] is None
    initiator = a.lab.report.select("a")[0].initiator
    assert [one["key"] for one in forced["removed"]] == [A, A]
    assert all(one["transport_id"].startswith(initiator) for one in forced["removed"])
    assert _generation(a.lab) == before  # nothing that was sent changed anything
    assert witness(a.lab, "--read-keys").count("0xa") == 2
    assert b.run("head -c 1 $LUN").status != 0
    b.run("head -c 1 $(dirname $LUN)/.ext/forced/$(basename $LUN)").check()
    assert "0xa" not in keys_seen(a.lab)


def test_a_retained_reservation_is_told_kept_and_released(a: Host, b: Host) -> None:
    a.mount().check()
    b.mount().check()
    a.run("head -c 1 $(dirname $LUN)/.ext/retain/$(basename $LUN)").check()
    while a.lun()["opens"]:
        pass
    lun = a.lun()
    assert (lun["retained"], lun["retained_from_before"]) == (True, False)
    assert lun["retained_since"] is not None
    a.unmount().check()
    assert "Key=0xa" in witness(a.lab, "--read-reservation")
    a.mount().check()
    assert "ours (kept from before this daemon started)" in a.run("mpio-fuse status").stdout
    assert b.run("head -c 1 $LUN").status != 0
    a.run("mpio-fuse release $(basename $LUN)").check()
    assert "there is NO reservation held" in witness(a.lab, "--read-reservation")
    b.run("head -c 1 $LUN").check()
