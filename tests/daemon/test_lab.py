"""Faults and a trace around a mount's transports, and what the control socket is answered about them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from mpio_fuse.daemon.lab import Instruments, Lab
from mpio_fuse.device import openers
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.fault_language import parse_fault
from mpio_fuse.transport.fault_set import MAXIMUM_FAULTS
from mpio_fuse.transport.simulated import SimulatedTransport
from mpio_fuse.transport.trace import TraceFile

pytestmark = pytest.mark.virtual_clock


def lab_of(*lines: str) -> Lab:
    return Lab([parse_fault(line) for line in lines])


def underpath(name: str = "a1") -> Transport:
    return SimulatedTransport(LogicalUnitModel(), Nexus("iqn.host-a", 1), name)


async def status_of(transport: Transport) -> int:
    return (await transport.execute(test_unit_ready())).status


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[TraceFile]:
    opened = TraceFile.open(tmp_path / "trace")
    yield opened
    opened.close()


@pytest.mark.expects_log("WARNING .*lab: this is a lab: commands can be made to fail faults=2")
async def test_a_lab_says_so() -> None:
    said: list[str] = []
    lab_of("a1: hang", "a2: hang").announce(said.append)
    assert said == ["this is a lab: commands can be made to fail (2 faults set)"]


@pytest.mark.expects_log("fault set .*a1: error busy")
async def test_what_is_opened_has_its_faults_also_when_opened_again() -> None:
    lab = lab_of("a1: error busy")
    assert await status_of(lab.wrap(underpath("a2"))) == Status.GOOD
    for _ in range(2):
        assert await status_of(lab.wrap(underpath("a1"))) == Status.BUSY
    (fault,) = lab.report()
    assert (fault["number"], fault["underpath"], fault["fault"]) == (1, "a1", "error busy")
    assert (fault["state"], fault["seen"], fault["struck"]) == ("set", 2, 2)


@pytest.mark.expects_log("fault set ")
async def test_time_counts_from_the_first_underpath() -> None:
    lab = lab_of("a1: error busy from=10s")
    await trio.sleep(100)
    transport = lab.wrap(underpath())
    assert await status_of(transport) == Status.GOOD
    await trio.sleep(10)
    assert await status_of(transport) == Status.BUSY


@pytest.mark.expects_log("fault set ")
@pytest.mark.expects_log("fault of nobody .*a9")
async def test_a_fault_of_no_underpath_is_a_warning() -> None:
    instruments = Instruments(lab_of("a1: hang", "a9: hang", "*: hang"))
    instruments.wrap(underpath())
    assert instruments.warnings() == ["fault 2 (a9: hang): there is no such underpath here"]


async def test_too_many_faults_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="more than 1000 faults cannot be set; 0 are set now"):
        lab_of(*["a1: hang"] * (MAXIMUM_FAULTS + 1))


@pytest.mark.expects_log("fault set ")
async def test_the_trace_has_what_we_were_told(trace: TraceFile) -> None:
    instruments = Instruments(lab_of("a1: error busy"), trace)
    assert await status_of(instruments.wrap(underpath())) == Status.BUSY
    assert trace.file.read_text().endswith("\tBUSY\n")
    assert instruments.report()["trace"] == {"file": str(trace.file), "lines": 1, "problem": None}


async def test_mostly_there_is_neither() -> None:
    transport = underpath()
    nothing = Instruments()
    assert not nothing
    assert nothing.wrap(transport) is transport
    assert (nothing.warnings(), nothing.report()) == ([], {"lab": None, "trace": None})
    assert openers.opening(None) is openers.open_device


async def test_what_is_opened_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_simulated(device: str) -> Transport:
        await trio.lowlevel.checkpoint()
        return underpath(device)

    monkeypatch.setattr(openers, "OPENERS", {"sim": open_simulated})
    lab = Lab()
    opened = await openers.opening(lab.wrap)("sim://1")
    assert opened.name == "sim://1"
    assert type(opened).__name__ == "FaultTransport"
    assert openers.opening(None) is not openers.opening(lab.wrap)


def ask(instruments: Instruments, action: str, **fields: object) -> dict[str, Any]:
    return instruments.answer({"request": "fault", "action": action, **fields})


@pytest.mark.expects_log("fault set number=1 .*a1: error busy")
@pytest.mark.expects_log("fault set .*number=2")
@pytest.mark.expects_log("fault cleared .*number=1 .*struck=1")
@pytest.mark.expects_log("fault cleared .*number=2")
async def test_requests_add_list_and_clear() -> None:
    instruments = Instruments(Lab())
    transport = instruments.wrap(underpath())
    assert ask(instruments, "add", fault="a1: error busy") == {"ok": True, "number": 1}
    assert ask(instruments, "add", fault="*: error task-set-full")["number"] == 2
    assert await status_of(transport) == Status.BUSY
    assert [one["struck"] for one in ask(instruments, "list")["faults"]] == [1, 0]
    assert instruments.report()["lab"] == {"faults": ask(instruments, "list")["faults"]}
    assert ask(instruments, "clear", numbers=[1]) == {"ok": True}
    assert await status_of(transport) == Status.TASK_SET_FULL
    ask(instruments, "clear", numbers=None)
    assert await status_of(transport) == Status.GOOD


BAD_REQUESTS = [
    ({"action": "add", "fault": "a9: hang"}, "there is no underpath 'a9' here; 'mpio-fuse status'"),
    ({"action": "add", "fault": "a1: hung"}, "column 5: 'hung' is no action, did you mean 'hang'"),
    ({"action": "add", "fault": 3}, "unknown request about faults"),
    ({"action": "clear", "numbers": [7]}, "there is no fault 7"),
    ({"action": "clear", "numbers": ["1"]}, "unknown request about faults"),
    ({"action": "explode"}, "unknown request about faults"),
    ({}, "unknown request about faults"),
]


@pytest.mark.parametrize(("request_", "words"), BAD_REQUESTS)
async def test_bad_requests_change_nothing(request_: dict[str, Any], words: str) -> None:
    instruments = Instruments(Lab())
    instruments.wrap(underpath())
    with pytest.raises(UsageError, match=words):
        instruments.answer({"request": "fault", **request_})
    assert ask(instruments, "list")["faults"] == []


@pytest.mark.parametrize("action", ["list", "add", "clear"])
async def test_no_lab_no_faults(trace: TraceFile, action: str) -> None:
    instruments = Instruments(None, trace)
    with pytest.raises(MpioError, match="not mounted with --lab: its commands cannot be made"):
        ask(instruments, action, fault="*: hang", numbers=None)
