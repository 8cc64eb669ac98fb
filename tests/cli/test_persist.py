"""``mpio-fuse persist`` and ``explain --device`` over nodes of a simulated array, as people have them."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from mpio_fuse.cli import main, persist
from mpio_fuse.cli.persist_options import CHANGES, READS
from mpio_fuse.errors import TransportError
from mpio_fuse.scsi import pr_in
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, SCSI_DEBUG, SPC, TGT, Quirks
from mpio_fuse.transport.simulated_link import Link
from tests.device.answering import AnsweringTransport, disk

A, B = "0x000000000000000a", "0x000000000000000b"


@attrs.define
class Terminal:
    """Nodes by name: ``a1``, ``a2`` of this host, ``b1`` of another, ``other`` of another disk."""

    capture: pytest.CaptureFixture[str]
    model: LogicalUnitModel
    nodes: dict[str, AnsweringTransport] = attrs.Factory(dict)
    links: dict[str, Link] = attrs.Factory(dict)
    stderr: str = ""

    async def open(self, name: str) -> AnsweringTransport:
        await trio.lowlevel.checkpoint()
        if name == "nothing":
            raise TransportError("no such device node", underpath=name)
        model = disk("0ther") if name == "other" else self.model
        node = self.nodes[name] = AnsweringTransport(model, name)
        node.nexus = Nexus(f"iqn.host-{name[0]}", int(name[1:]) if name[1:].isdigit() else 1)
        node.link = self.links.setdefault(name, node.link)
        return node

    def run(self, *words: str, status: int = 0) -> str:
        assert main.run(["persist", *words]) == status, self.capture.readouterr()
        out, self.stderr = self.capture.readouterr()
        assert all(node.is_closed for node in self.nodes.values())
        return out

    def error(self, *words: str, status: int = 1) -> str:
        """The one line on stderr of what fails, notes left out."""
        assert self.run(*words, status=status) == ""
        (line,) = (one for one in self.stderr.splitlines() if ": note: " not in one)
        return line.removeprefix("mpio-fuse: ")

    def document(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.run(*words, "--json")))

    @property
    def keys(self) -> dict[str, str]:
        """The array's own books: key by nexus."""
        return {_short(one.nexus): str(one.key) for one in self.model.persistent.registered}

    @property
    def holder(self) -> str | None:
        held = self.model.persistent.holder
        return None if held is None else _short(held.nexus)


def _short(nexus: Nexus) -> str:
    return f"{nexus.initiator_name[-1]}{nexus.target_port}"


def make_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quirks: Quirks
) -> Terminal:
    made = Terminal(capsys, LogicalUnitModel(quirks))
    monkeypatch.setattr(persist, "OPEN", made.open)
    return made


@pytest.fixture(autouse=True)
def _no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPIO_FUSE_RUN_DIR", str(tmp_path))


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return make_terminal(capsys, monkeypatch, LIO)


def _register_both(terminal: Terminal) -> None:
    terminal.run("register", "--new-key", "a", "a1", "a2")
    terminal.run("register", "--new-key", "b", "b1")


def test_register_goes_over_every_node_and_shows_what_there_is_then(terminal: Terminal) -> None:
    made = terminal.document("register", "--new-key", "0xA", "a1", "a2")
    assert made == {
        "lun": made["lun"],
        "action": "register",
        "underpaths": ["a1", "a2"],
        "generation": 2,
        "keys": [A, A],
        "reservation": {"is_held": False, "holder": None, "type": None, "type_name": None},
    }
    assert terminal.keys == {"a1": A, "a2": A}


def test_register_from_one_key_to_another_and_to_none(terminal: Terminal) -> None:
    terminal.run("register", "--new-key", "a", "a1")
    terminal.run("register", "-K", "a", "-S", "b", "a1")
    assert terminal.keys == {"a1": B}
    terminal.run("register", "--param-rk", "b", "--param-sark", "0", "a1")
    assert terminal.keys == {}


def test_register_without_the_key_that_is_there_conflicts(terminal: Terminal) -> None:
    terminal.run("register", "--new-key", "a", "a1")
    line = terminal.error("register", "--new-key", "b", "a1", "a2")
    assert (
        "a1: PERSISTENT RESERVE OUT, REGISTER: RESERVATION CONFLICT, this nexus is registered already"
        in line
    )
    assert line.endswith("give that key with --key, or use register-ignore")
    assert terminal.keys == {"a1": A, "a2": B}
    terminal.run("register-ignore", "--new-key", "b", "a1")
    assert terminal.keys == {"a1": B, "a2": B}


@pytest.mark.parametrize(
    "kind", ["6", "0x6", "Exclusive Access, registrants only", "exclusive-access-registrants-only"]
)
def test_reserve_by_number_or_name(terminal: Terminal, kind: str) -> None:
    terminal.run("register", "--new-key", "a", "a1")
    shown = terminal.run("reserve", "--key", "a", "--type", kind, "a1")
    assert f"reservation: key {A}, type 6, Exclusive Access, registrants only\n" in shown
    assert terminal.holder == "a1"


@pytest.mark.hazard(29)
@pytest.mark.parametrize("kind", list(PrType))
def test_reserve_and_release_of_every_type(terminal: Terminal, kind: PrType) -> None:
    terminal.run("register", "--new-key", "a", "a1")
    made = terminal.document("reserve", "--key", "a", "--type", str(int(kind)), "a1")
    assert (made["reservation"]["type"], made["reservation"]["type_name"]) == (kind, kind.title)
    terminal.run("release", "--key", "a", "a1")
    assert terminal.holder is None


def test_reserve_of_what_another_host_holds_is_one_line_that_says_who(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "b", "b1")
    assert terminal.error("reserve", "--key", "a", "a1") == (
        f"{terminal.document('read-keys', 'a1')['lun']}: a1: PERSISTENT RESERVE OUT, RESERVE: RESERVATION CONFLICT,"
        f" held by key {B} (Exclusive Access, registrants only); preempt that key if its host is dead"
    )


def test_a_key_that_is_not_registered_is_told_so(terminal: Terminal) -> None:
    _register_both(terminal)
    line = terminal.error("reserve", "--key", "c", "a1")
    assert (
        "RESERVATION CONFLICT, key 0x000000000000000c is not registered; the LUN is held by nobody"
        in line
    )
    assert line.endswith("register it first, or give the key that is registered with --key")


def test_lios_answer_to_strangers_says_who_holds_too(terminal: Terminal) -> None:
    line = terminal.error("reserve", "--key", "c", "a1")
    assert "CHECK CONDITION: NOT READY" in line
    assert line.endswith("the LUN is held by nobody")


def test_release_is_tried_over_each_node_until_the_reservation_is_gone(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a2")
    made = terminal.document("release", "--key", "a", "a1", "a2")
    assert (made["underpaths"], terminal.holder) == (["a2"], None)


@pytest.mark.hazard(12)
def test_release_over_a_nexus_that_does_not_hold_is_no_success(terminal: Terminal) -> None:
    """GOOD and nothing done, says the standard: only reading tells."""
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a2")
    line = terminal.error("release", "--key", "a", "a1")
    assert f"RELEASE: GOOD, but nothing was released: held by key {A}" in line
    assert "name its node too" in line
    assert terminal.holder == "a2"


@pytest.mark.parametrize("action", ["preempt", "preempt-abort"])
def test_preempt_removes_the_victim_and_takes_what_it_held(terminal: Terminal, action: str) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a2")
    made = terminal.document(action, "--key", "b", "--new-key", "a", "b1")
    assert (made["keys"], made["reservation"]["holder"]) == ([B], B)
    assert terminal.holder == "b1"


def test_preempt_of_a_key_that_nobody_has(terminal: Terminal) -> None:
    _register_both(terminal)
    line = terminal.error("preempt", "--key", "a", "--victim", "c", "a1")
    assert "no registration has key 0x000000000000000c" in line


def test_clear_leaves_nothing(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a1")
    assert "registrations: none\nreservation: none\n" in terminal.run("clear", "--key", "a", "a1")
    assert terminal.keys == {}


def test_aptpl_survives_a_power_loss_of_the_target(terminal: Terminal) -> None:
    terminal.run("register", "--new-key", "a", "--aptpl", "a1")
    terminal.model.power_loss()
    assert terminal.keys == {"a1": A}
    can = terminal.document("report-capabilities", "a1")["capabilities"]
    assert can["persist_through_power_loss_active"] is True


def test_all_tg_pt_registers_every_target_port(terminal: Terminal) -> None:
    terminal.run("read-keys", "a2")
    terminal.run("register", "--new-key", "a", "--all-tg-pt", "a1")
    (first, *_) = terminal.document("read-full-status", "a1")["registrants"]
    assert (first["all_target_ports"], first["relative_target_port"]) == (True, None)


def test_register_move_gives_the_reservation_to_another_port(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(capsys, monkeypatch, SPC)
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a1")
    (port,) = (
        one["transport_id"]
        for one in terminal.document("read-full-status", "a1")["registrants"]
        if one["key"] == B
    )
    words = ["--transport-id", port, "--relative-target-port", "1", "--unreg"]
    terminal.run("register-move", "--key", "a", "--new-key", "b", *words, "a1")
    assert (terminal.holder, terminal.keys) == ("b1", {"a2": A, "b1": B})


def test_a_lost_answer_is_unknown_and_tried_nowhere_else(terminal: Terminal) -> None:
    _register_both(terminal)
    link = terminal.links["a1"]
    link.lose_answers(1, lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT, after_s=0)
    line = terminal.error("reserve", "--key", "a", "a1", "a2")
    assert "a1: PERSISTENT RESERVE OUT, RESERVE: no answer" in line
    assert f"it may have worked or not; now the LUN is held by key {A}" in line
    assert terminal.holder == "a1"


def test_an_attention_met_on_the_way_is_told(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a1")
    terminal.run("preempt-abort", "--key", "b", "--victim", "a", "b1")
    terminal.run("read-keys", "a1")
    assert "note: a1: told now, and not again: CHECK CONDITION: UNIT ATTENTION" in terminal.stderr


def test_read_keys_counts_nexuses(terminal: Terminal) -> None:
    _register_both(terminal)
    rows = [line.split() for line in terminal.run("read-keys", "b1").splitlines()]
    assert [A, "2"] in rows
    assert [B, "1"] in rows
    assert terminal.document("read-keys", "b1")["keys"] == [A, A, B]


@pytest.mark.hazard(27)
def test_read_keys_asks_again_for_a_list_that_was_cut_off(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register_both(terminal)
    whole, asked_bytes = pr_in.read_keys, []

    def read_keys(length_bytes: int) -> Command:
        asked_bytes.append(length_bytes)
        return whole(16 if len(asked_bytes) == 1 else length_bytes)

    monkeypatch.setattr(pr_in, "read_keys", read_keys)
    assert terminal.document("read-keys", "a1")["keys"] == [A, A, B]
    assert asked_bytes[1:] == [32]


def test_read_full_status_names_who(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "a", "a1")
    full = terminal.document("read-full-status", "b1")
    assert (full["is_complete"], full["registrations"]) == (True, 3)
    holders = [one for one in full["registrants"] if one["is_holder"]]
    assert [(one["key"], one["type"]) for one in holders] == [(A, 6)]
    assert holders[0]["transport_id"].startswith("iqn.host-a,i,0x")
    shown = terminal.run("read-full-status", "b1")
    assert f"{A}  type 6, Exclusive Access, registrants only  1            iqn.host-a,i,0x" in shown
    assert "incomplete" not in shown


def test_full_status_that_hides_registrants_is_told_incomplete(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LIO shortens ADDITIONAL LENGTH to what fits: only READ KEYS tells that there are more."""
    _register_both(terminal)
    open_node = terminal.open
    one_registrant = bytes.fromhex(
        "00000003 00000018" + "000000000000000a" + "00000000" + "00 00 00000000 0001 00000000"
    )

    async def open_short(name: str) -> AnsweringTransport:
        node = await open_node(name)
        node.replies["READ FULL STATUS"] = [one_registrant]
        return node

    monkeypatch.setattr(persist, "OPEN", open_short)
    full = terminal.document("read-full-status", "a1")
    assert (full["is_complete"], len(full["registrants"]), full["registrations"]) == (False, 1, 3)
    assert "incomplete: the target shows 1 of 3 registrations" in terminal.run(
        "read-full-status", "a1"
    )


def test_what_a_target_does_not_have_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tgt = make_terminal(capsys, monkeypatch, TGT)
    line = tgt.error("read-full-status", "a1")
    assert "the target does not have PERSISTENT RESERVE IN, READ FULL STATUS" in line
    none = make_terminal(capsys, monkeypatch, SCSI_DEBUG)
    line = none.error("read-keys", "a1")
    assert "the target does not have PERSISTENT RESERVE IN, READ KEYS" in line


def test_reading_goes_over_the_first_node_that_answers(terminal: Terminal) -> None:
    _register_both(terminal)
    link = terminal.links["a1"]
    link.lose_commands(None, lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_IN, after_s=0)
    assert terminal.document("read-keys", "a1", "a2")["keys"] == [A, A, B]
    line = terminal.error("read-keys", "a1")
    assert "READ KEYS: no usable answer (a1: host status 0x03 TIME_OUT)" in line


def test_an_answer_that_makes_no_sense_is_one_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_node = terminal.open

    async def open_mad(name: str) -> AnsweringTransport:
        node = await open_node(name)
        node.replies["READ RESERVATION"] = [b"\0" * 7 + b"\5" + b"\xff" * 5]
        return node

    monkeypatch.setattr(persist, "OPEN", open_mad)
    assert "READ RESERVATION data: a reservation of 5 bytes" in terminal.error(
        "read-reservation", "a1"
    )


def test_nodes_of_different_disks_are_refused_before_anything_is_done(terminal: Terminal) -> None:
    line = terminal.error("register", "--new-key", "a", "a1", "other", status=2)
    assert line.startswith("these are different disks: a1 is naa.")
    assert terminal.keys == {}


def test_a_node_named_twice_is_registered_once(terminal: Terminal) -> None:
    terminal.run("register", "--new-key", "a", "a1", "a1", "./a1")
    assert terminal.keys == {"a1": A}


def test_a_node_that_is_none_leaves_the_others_closed_and_untouched(terminal: Terminal) -> None:
    assert "nothing: no such device node" in terminal.error(
        "register", "--new-key", "a", "a1", "nothing"
    )
    assert terminal.keys == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reserve", "--key", "xyz", "a1"], "'xyz' is not a reservation key"),
        (["reserve", "--key", "a", "--type", "9", "a1"], "'9' is not a reservation type; these are: 1 Write"),
        (["reserve", "--key", "a", "--scope", "7", "a1"], "'7' is not a scope"),
        (["preempt", "--key", "a", "a1"], "Missing option '--new-key'"),
        (["register", "--new-key", "a", "--transport-id", "fc.xyz", "a1"], "not hexadecimal digits"),
        (["register", "--new-key", "a", "--transport-id", "usb.1", "a1"], "is not an initiator port"),
        (["clear", "--type", "6", "a1"], "No such option '--type'"),
        (["reserve", "--key", "a"], "Missing argument 'DEVICE...'"),
        (["conquer", "a1"], "No such command 'conquer'"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(
    terminal: Terminal, words: list[str], said: str
) -> None:
    assert said in terminal.error(*words, status=2)


def test_the_host_s_own_key_is_what_is_left_out(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persist, "host_key", lambda: ReservationKey.parse("a"))
    terminal.run("register", "a1")
    terminal.run("reserve", "a1")
    assert (terminal.keys, terminal.holder) == ({"a1": A}, "a1")


def test_every_action_has_a_help(terminal: Terminal) -> None:
    for action in (*CHANGES, *READS):
        assert "DEVICE..." in terminal.run(action, "--help")


def test_explain_over_nodes_changes_nothing(terminal: Terminal) -> None:
    _register_both(terminal)
    terminal.run("reserve", "--key", "b", "b1")
    terminal.model.log.clear()
    words = ["explain", "forced", "--key", "a", "--device", "a1", "--device", "a2", "--json"]
    assert main.run(words) == 0
    told = json.loads(terminal.capture.readouterr().out)
    sent = {entry.cdb[0] for entry in terminal.model.log}
    assert sent == {OpCode.INQUIRY, OpCode.PERSISTENT_RESERVE_IN}
    assert (told["options"], told["error"], told["figure"]) == (
        "forced",
        None,
        "Figure 8, forced open",
    )
    assert [(one["key"], one["is_holder"]) for one in told["removed"]] == [(B, True)]
    assert terminal.keys == {"a1": A, "a2": A, "b1": B}
