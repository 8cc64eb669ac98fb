"""Two hosts over real mounts: one writes without a pause, the other takes the LUN over by a forced open."""

import json

import pytest

from tests.lab.host import Host, keys_seen, witness
from tests.lab.lab import Lab
from tests.lab.takeover_by import OPTIONS

DEAD = ["EBADE"] * 3


@pytest.mark.fabric(kind="iscsi")
def test_nothing_of_the_old_owner_lands_once_the_forced_open_has_returned(lab: Lab) -> None:
    a, b = Host(lab, "a"), Host(lab, "b")
    a.mount().check()
    b.mount().check()
    command = f"python -m tests.lab.takeover_by {a.root}/$(basename $LUN) $LUN"
    told = json.loads(b.run(command).check().stdout)
    assert [one["errno"] for one in told["writers"]] == ["EBADE"] * len(OPTIONS)
    assert told["changed"] == 0
    assert told["dead"] == [[DEAD] * len(OPTIONS)] * 3
    assert told["beside"] == "EIO"
    assert told["again"] == 1
    for writer in told["writers"]:
        for slot in zip(writer["acknowledged"], writer["attempted"], writer["seen"], strict=True):
            acknowledged, attempted, seen = slot
            # The write that failed may have landed before it was aborted, or a part of it; all others are whole.
            assert set(seen) <= {acknowledged, attempted}
            assert acknowledged > 0
    a.await_release()
    assert "NO reservation held" in witness(lab, "--read-reservation")
    assert sorted(set(keys_seen(lab))) == ["0xa", "0xb"]
