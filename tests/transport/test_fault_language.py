"""The language of faults: what it can say, and what it answers to what it cannot."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi import pr_in, pr_out
from mpio_fuse.scsi.block import read, synchronize_cache, write
from mpio_fuse.scsi.capacity import read_capacity_16
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.reserve6 import reserve6
from mpio_fuse.scsi.sense import Sense, SenseKey, encode_sense
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.scsi.verdict import describe, sense_of
from mpio_fuse.transport.fault_language import MAXIMUM_LENGTH, parse_fault, parse_script
from mpio_fuse.transport.fault_spec import Action, FaultSpec
from mpio_fuse.transport.fault_words import COMMAND_WORDS, RESET

BLOCK = 512
FAR = 1 << 33
KEY = ReservationKey.from_int(0xA1)


def spec(text: str) -> FaultSpec:
    return parse_fault(f"sim0: {text}")


def test_a_whole_line() -> None:
    line = "/dev/sg3:  drop on=write  told=transport-disrupted at=1.5s count=3 after=2 from=1min until=1h"
    fault = parse_fault(line)
    assert (fault.underpath, fault.action) == ("/dev/sg3", Action.DROP)
    assert fault.told == Completion(host_status=HostStatus.TRANSPORT_DISRUPTED)
    assert (fault.at_s, fault.count, fault.after) == (1.5, 3, 2)
    assert (fault.from_s, fault.until_s) == (60.0, 3600.0)
    assert fault.line == line.replace("  ", " ")
    assert parse_fault(fault.line) == fault


def test_an_underpath_may_have_colons_and_blanks() -> None:
    assert (
        parse_fault("iscsi://[::1]:3260/iqn.x:y/1: hang").underpath
        == "iscsi://[::1]:3260/iqn.x:y/1"
    )
    assert parse_fault(" my disk : hang").underpath == "my disk"


OUTCOMES = {
    "no-connect": Completion(host_status=HostStatus.NO_CONNECT),
    "NO_CONNECT": Completion(host_status=HostStatus.NO_CONNECT),
    "timeout": Completion(host_status=HostStatus.TIME_OUT),
    "busy": Completion(Status.BUSY),
    "good": Completion(),
    "host:0x18": Completion(host_status=0x18),
    "host:0x07+status:0x02": Completion(Status.CHECK_CONDITION, 7),
    "driver:0x06": Completion(driver_status=6),
    "3/11/00": Completion(2, sense=encode_sense(Sense(SenseKey.MEDIUM_ERROR, 0x11, 0))),
    "sense:b/4b/3": Completion(2, sense=encode_sense(Sense(SenseKey.ABORTED_COMMAND, 0x4B, 3))),
    "sense:7000ff": Completion(2, sense=b"\x70\x00\xff"),
    "busy+sense:7000": Completion(Status.BUSY, sense=b"\x70\x00"),
}


@pytest.mark.parametrize(("text", "told"), OUTCOMES.items())
def test_outcomes(text: str, told: Completion) -> None:
    assert spec(f"error {text}").told == told
    assert spec(f"drop told={text}").told == told


def test_told_never() -> None:
    assert spec("drop told=never").told is None
    assert spec("lose-answer").told == Completion(host_status=HostStatus.TIME_OUT)


def test_sense_can_be_read_back() -> None:
    told = spec("error 6/29/03").told
    assert told is not None
    sense = sense_of(told)
    assert sense is not None
    assert sense.code == (6, 0x29, 3)
    assert "bus device reset" in describe(told)


def a_read(lba: int = 0, blocks: int = 1) -> Command:
    return read(lba, bytearray(blocks * BLOCK), BLOCK)


def a_write(lba: int = 0, blocks: int = 1) -> Command:
    return write(lba, bytes(blocks * BLOCK), BLOCK)


COMMANDS = {
    "read10": a_read(),
    "read16": a_read(FAR),
    "write10": a_write(),
    "write16": a_write(FAR),
    "sync": synchronize_cache(),
    "check": test_unit_ready(),
    "inquiry": inquiry(),
    "capacity": read_capacity_16(),
    "keys": pr_in.read_keys(),
    "held": pr_in.read_reservation(),
    "reserve": pr_out.reserve(KEY, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
    "abort": pr_out.preempt_and_abort(KEY, KEY, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
    "reserve6": reserve6(),
    "reset": RESET,
}

MATCHES = {
    "on=read": "read10 read16",
    "on=read-16": "read16",
    "on=WRITE_10": "write10",
    "on=read,write": "read10 read16 write10 write16",
    "on=read-capacity": "capacity",
    "on=synchronize-cache": "sync",
    "on=test-unit-ready": "check",
    "on=pr-in": "keys held",
    "on=read-keys,preempt-and-abort": "keys abort",
    "on=reserve": "reserve",
    "on=reserve-6": "reserve6",
    "on=persistent-reserve-out": "reserve abort",
    "on=reset": "reset",
    "on=0x2a": "write10",
    "on=0x5f/0x05": "abort",
    "on=0x5f": "reserve abort",
    "direction=out": "write10 write16 reserve abort",
    "direction=in": "read10 read16 inquiry capacity keys held",
    "direction=none": "sync check reserve6 reset",
    "lba=0": "read10 write10 sync",
    f"lba={FAR}-{FAR + 100}": "read16 write16 sync",
    "lba=1-99": "sync",
    "direction=out lba=0-9": "write10",
    "": " ".join(COMMANDS),
}


@pytest.mark.parametrize(("keys", "struck"), MATCHES.items())
def test_which_commands_match(keys: str, struck: str) -> None:
    match = spec(f"hang {keys}").match
    assert [name for name, one in COMMANDS.items() if match.matches(one)] == struck.split()


@pytest.mark.parametrize(
    ("lba", "is_struck"),
    [("9", False), ("10", True), ("13", True), ("14", False), ("0-10", True), ("12-99", True), ("0-99", True)],
)  # fmt: skip
def test_one_block_in_common_is_enough(lba: str, *, is_struck: bool) -> None:
    assert spec(f"hang lba={lba}").match.matches(a_write(10, 4)) == is_struck


def test_a_flush_of_some_blocks_is_about_those() -> None:
    some = synchronize_cache(10, 4)
    assert spec("hang lba=13").match.matches(some)
    assert not spec("hang lba=14").match.matches(some)


def test_durations_and_chances() -> None:
    assert spec("delay 250ms").delay_s == 0.25
    fault = spec("delay 2s of=answer probability=25% seed=7")
    assert (fault.is_answer_delayed, fault.probability, fault.seed) == (True, 0.25, 7)
    assert spec("hang probability=0.5").probability == 0.5
    assert spec("error busy at=3s").at_s == 3.0


MANUAL = "; docs/faults.md has the words"

WRONG = {
    "": "column 1: not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'",
    "/dev/sg3": "column 1: not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'",
    "/dev/sg3:hang": "column 1: not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'",
    ": hang": "column 1: not of the form 'UNDERPATH: ACTION [KEY=VALUE]...'",
    "a:": "column 3: no action after the underpath; one of error, delay, drop, lose-answer, hang, gone",
    "a: explode": "column 4: 'explode' is no action; one of error, delay, drop, lose-answer, hang, gone",
    "a: lose_answer": "column 4: 'lose_answer' is no action, did you mean 'lose-answer'?",
    "a: error": "column 9: error needs a SAM status, a host status or sense after it",
    "a: delay": "column 9: delay needs a duration after it",
    "a: delay 2": "column 10: '2' is no duration such as 250ms, 1.5s, 2min or 1h",
    "a: delay -2s": "column 10: '-2s' is no duration such as 250ms, 1.5s, 2min or 1h",
    "a: delay ²s": "column 10: '²s' is no duration such as 250ms, 1.5s, 2min or 1h",
    "a: delay 25h": "column 10: 25h is more than a day",
    "a: error bussy": "column 10: 'bussy' is no SAM status, host status or sense, did you mean 'busy'?",
    "a: error never": "column 10: 'never' is no SAM status, host status or sense",
    "a: error busy+good": "column 10: 'busy+good' has two status parts",
    "a: error 3/11": "column 10: '3/11' is no SAM status, host status or sense",
    "a: error host:0x100": "column 10: 'host:0x100' is no SAM status, host status or sense",
    "a: hang on=wirte": "column 12: 'wirte' is no command, did you mean 'write'?",
    "a: hang on=read,": "column 12: '' is no command",
    "a: hang on=0x5f/0x20": "column 12: service action 0x20 is more than 0x1f",
    "a: hang  one=read": "column 10: hang has no key 'one', did you mean 'on'?",
    "a: hang told=never": "column 9: hang has no key 'told'; one of after, count, direction, from, lba, on, "
    "probability, seed, until",
    "a: hang count": "column 9: count needs a value: count=...",
    "a: hang count=": "column 9: count needs a value: count=...",
    "a: hang count=0": "column 15: a fault that strikes 0 times is none",
    "a: hang count=1e3": "column 15: '1e3' is no whole number up to 1000000000",
    "a: hang after=99999999999999": "column 15: '99999999999999' is no whole number up to 1000000000",
    "a: hang count=1 count=2": "column 17: count is there twice",
    "a: hang probability=0": "column 21: '0' is no probability such as 0.25 or 25%",
    "a: hang probability=101%": "column 21: '101%' is no probability such as 0.25 or 25%",
    "a: hang lba=9-3": "column 13: '9-3' ends before it begins, or beyond 64 bits",
    "a: hang lba=0x10": "column 13: '0x10' is no block, and no blocks FIRST-LAST",
    f"a: hang lba=0-{1 << 64}": f"column 13: '0-{1 << 64}' ends before it begins, or beyond 64 bits",
    "a: hang direction=up": "column 19: 'up' is no direction: in, out or none",
    "a: delay 1s of=both": "column 16: 'both' is neither command nor answer",
    "a: hang until=2s from=2s": "column 9: it would be over before it begins",
    "a: hang until=0s": "column 9: it would be over before it begins",
    "a: hang\x1b[2J": "column 8: '\\x1b' cannot be in a fault",
}  # fmt: skip


@pytest.mark.parametrize(("text", "what"), WRONG.items())
def test_what_is_wrong_is_said_with_its_column(text: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert str(caught.value) == f"fault {text!r}, {what}{MANUAL}"


def test_a_fault_fits_a_request() -> None:
    parse_fault("a: hang".ljust(MAXIMUM_LENGTH))
    with pytest.raises(UsageError, match="501 characters, more than 500; make several"):
        parse_fault("a: hang".ljust(MAXIMUM_LENGTH + 1))


def test_every_word_of_a_command_can_be_said() -> None:
    for word in COMMAND_WORDS:
        assert spec(f"hang on={word}").match.on == COMMAND_WORDS[word]


def test_a_script_names_file_line_and_column() -> None:
    good = "# a black hole\n\n  a: hang from=10s until=22s\n# and\r\n*: delay 1ms\n"
    assert [one.underpath for one in parse_script(good, "x.faults")] == ["a", "*"]
    with pytest.raises(UsageError) as caught:
        parse_script("# first\na: hang\n\nb: hangg\n", "x.faults")
    assert (
        str(caught.value)
        == f"x.faults:4, column 4: 'hangg' is no action, did you mean 'hang'?{MANUAL}"
    )


def test_every_fault_in_the_manual_can_be_said() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    faults = re.findall(r"\| `(\S+: [^`]+)`", manual) + re.findall(r"'(\S+: [^']+)'", manual)
    wrong = "a: drop on=wirte"
    assert wrong in faults
    assert len(faults) >= 12
    for fault in faults:
        if fault != wrong:
            parse_fault(fault)
    words = re.search(r"^\| `on=` \|(.*)", manual, re.MULTILINE)
    assert words is not None
    for word in re.findall(r"`(\S+)`", words[1]):
        spec(f"hang on={word}")


WORDS = st.sampled_from(
    [
        "a:",
        "hang",
        "error",
        "drop",
        "busy",
        "2s",
        "on=",
        "on=read",
        "lba=1",
        "told=3/11/00",
        "²",
        "\x1b",
    ]
)


@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=6).map(" ".join)))
def test_any_text_is_a_fault_or_wrong_usage_on_one_line(text: str) -> None:
    said = ""
    try:
        parse_fault(text)
    except UsageError as error:
        said = str(error)
    assert all(character.isprintable() for character in said)
