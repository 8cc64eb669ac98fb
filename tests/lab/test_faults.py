"""Faults and the trace on real sg nodes: what is set while mounted strikes, and the file's users see no more of it."""

import json

from tests.lab.host import Host, witness
from tests.lab.lab import Lab


def test_a_write_that_one_underpath_fails_goes_over_the_other(lab: Lab) -> None:
    a = Host(lab, "a")
    one, other = a.nodes
    mount = f"mkdir -p {a.root}; mpio-fuse mount --lab --trace /tmp/trace --key 0xa {a.root} {one} {other}"
    assert "this is a lab: commands can be made to fail" in a.run(mount).check().stderr
    fault = f"{one}: error no-connect on=write"
    assert a.run(f"mpio-fuse fault add {a.root} '{fault}'").check().stdout == "1\n"
    a.run("head -c 4M /dev/urandom > /tmp/image; dd if=/tmp/image of=$LUN bs=1M").check()
    a.run(f"mpio-fuse fault clear {a.root} 1").check()
    a.run("dd if=$LUN bs=1M count=4 iflag=direct status=none | cmp - /tmp/image").check()
    status = json.loads(a.run("mpio-fuse status --json").check().stdout)["daemons"][0]
    assert status["lab"] == {"faults": []}
    assert status["trace"]["problem"] is None
    a.unmount().check()
    lines = a.run("cat /tmp/trace").check().stdout.splitlines()
    writes = [line.split("\t") for line in lines if "\tWRITE(" in line]
    assert {(row[1], row[-1]) for row in writes} == {
        (one, "host status 0x01 NO_CONNECT"),
        (other, "GOOD"),
    }
    assert "NO registered reservation keys" in witness(lab, "--read-keys")


def test_what_finds_the_luns_can_be_struck(lab: Lab) -> None:
    """The nodes are opened with their faults: nothing of an underpath gets through."""
    a = Host(lab, "a")
    one, other = a.nodes
    fault = f"'{one}: error no-connect'"
    done = a.run(
        f"mkdir -p {a.root}; mpio-fuse mount --lab --fault {fault} --key 0xa {a.root} {other} {one}"
    )
    left_out = f"mpio-fuse: warning: left out: {one}: INQUIRY: host status 0x01 NO_CONNECT"
    assert left_out in done.check().stderr
    assert [underpath["device"] for underpath in a.lun()["underpaths"]] == [other]
    a.unmount().check()
