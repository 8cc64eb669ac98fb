"""The trace: the contract as the transport inside has it, and what is written of it."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.errors import MpioError, TransportGone, UsageError
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.block import read, write
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.faults import FaultTransport
from mpio_fuse.transport.simulated import SimulatedTransport
from mpio_fuse.transport.trace import COLUMNS, TraceFile
from tests.transport import test_faults
from tests.transport.test_simulated import BAD_LBA, HOST_A

pytestmark = pytest.mark.virtual_clock

BLOCK = 512


class TracedBench(test_faults.AroundBench):
    """The simulated transport in a trace, and that once more."""

    def around(self, inner: Transport) -> Transport:
        if not hasattr(self, "trace"):
            self.trace = TraceFile.open(Path(os.devnull))
        return self.trace.wrap(FaultTransport(self.trace.wrap(inner), self.faults))


@pytest.fixture
async def bench() -> AsyncIterator[TracedBench]:
    await trio.lowlevel.checkpoint()
    made = TracedBench()
    yield made
    made.trace.close()


class TestStacked(test_faults.All):
    """In and around another that stacks."""


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[TraceFile]:
    opened = TraceFile.open(tmp_path / "trace", trio.current_time)
    yield opened
    opened.close()


def rows(trace: TraceFile) -> list[dict[str, str]]:
    """The lines after the heading, by column."""
    heading, *lines = trace.file.read_text().splitlines()
    assert heading == "# " + "\t".join(COLUMNS)
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]


def simulated(trace: TraceFile, name: str = "sim0") -> tuple[Transport, SimulatedTransport]:
    inner = SimulatedTransport(LogicalUnitModel(), HOST_A, name)
    return trace.wrap(inner), inner


async def test_a_line_has_it_all(trace: TraceFile) -> None:
    traced, inner = simulated(trace, "/dev/sg3")
    inner.link.execution_s = 0.25
    began_s = trio.current_time()
    await traced.execute(write(0x1234, bytes(2 * BLOCK), BLOCK))
    assert rows(trace) == [
        {
            "began_s": f"{began_s:.6f}",
            "underpath": "/dev/sg3",
            "command": "WRITE(10)",
            "cdb": "2a000000123400000200",
            "data": "out 1024",
            "took_s": "0.250000",
            "result": "GOOD",
        }
    ]
    assert trace.lines == 1


async def results(trace: TraceFile) -> list[tuple[str, str]]:
    await wait_all_tasks_blocked()
    return [(row["data"], row["result"]) for row in rows(trace)]


async def test_how_commands_ended(trace: TraceFile) -> None:
    traced, inner = simulated(trace)
    inner.model.medium.bad_blocks.add(BAD_LBA)
    await traced.execute(test_unit_ready())
    await traced.execute(inquiry(252))
    await traced.execute(read(BAD_LBA, bytearray(BLOCK), BLOCK))
    inner.link.go_down()
    await traced.execute(test_unit_ready())
    with pytest.raises(UsageError):
        await traced.execute(Command("odd", b"\x12"))
    inner.vanish()
    with pytest.raises(TransportGone):
        await traced.execute(test_unit_ready())
    ends = await results(trace)
    assert ends[0] == ("-", "GOOD")
    assert ends[1][0] == "in 252"
    assert ends[1][1].startswith("GOOD, ")
    assert ends[2:] == [
        ("in 512", "CHECK CONDITION: MEDIUM ERROR 11/00 unrecovered read error"),
        ("-", "host status 0x01 NO_CONNECT"),
        ("-", "not carried: odd: a CDB of 1 bytes, not 6 to 252; nothing was sent"),
        ("-", "gone"),
    ]


async def test_a_command_that_was_given_up_has_its_line(trace: TraceFile) -> None:
    traced, inner = simulated(trace)
    inner.link.times_out = False
    inner.link.lose_commands()
    with trio.move_on_after(3):
        await traced.execute(test_unit_ready())
    (row,) = rows(trace)
    assert (row["took_s"], row["result"]) == ("3.000000", "given up")
    assert traced.stranded == 1


async def test_resets_are_in_it(trace: TraceFile) -> None:
    inner = SimulatedTransport(LogicalUnitModel(), HOST_A)
    ends: list[MpioError | None] = [None, MpioError("not confirmed: the link\tis down")]

    async def reset() -> None:
        await trio.sleep(1)
        if error := ends.pop(0):
            raise error

    inner.reset_logical_unit = reset  # type: ignore[method-assign]
    traced = trace.wrap(inner)
    await traced.reset_logical_unit()
    with pytest.raises(MpioError):
        await traced.reset_logical_unit()
    first, second = rows(trace)
    assert (first["command"], first["cdb"], first["data"]) == ("LOGICAL UNIT RESET", "-", "-")
    assert (first["took_s"], first["result"]) == ("1.000000", "GOOD")
    assert second["result"] == "not carried: not confirmed: the link?is down"


async def test_data_is_never_written(trace: TraceFile) -> None:
    traced, _ = simulated(trace)
    key = ReservationKey.from_int(0x5EC2E7)
    await traced.execute(pr_out.register_and_ignore_existing_key(key))
    await traced.execute(write(0, b"secret!!" * 64, BLOCK))
    text = trace.file.read_text()
    assert "5ec2e7" not in text
    assert "secret" not in text
    assert b"secret!!".hex() not in text


async def test_a_name_stays_in_its_column(trace: TraceFile) -> None:
    traced, _ = simulated(trace, "a\tb\nc\x1b[2J")
    await traced.execute(test_unit_ready())
    assert [row["underpath"] for row in rows(trace)] == ["a?b?c?[2J"]
    assert traced.name == "a\tb\nc\x1b[2J"


async def test_a_trace_is_continued(trace: TraceFile) -> None:
    before = trace.file.read_text()
    again = TraceFile.open(trace.file)
    again.close()
    again.close()
    assert trace.file.read_text() == before * 2
    assert not trace.file.stat().st_mode & 0o027


async def test_a_full_disk_ends_the_trace_and_no_command() -> None:
    trace = TraceFile.open(Path("/dev/full"))
    assert trace.problem == "No space left on device"
    traced, _ = simulated(trace)
    assert (await traced.execute(test_unit_ready())).is_good
    assert trace.lines == 0


async def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MpioError, match="pipe: No such device or address; name a file"):
        TraceFile.open(tmp_path / "pipe")


async def test_a_file_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MpioError) as caught:
        TraceFile.open(tmp_path / "nothing" / "trace")
    assert (
        str(caught.value)
        == f"trace {tmp_path}/nothing/trace: No such file or directory; name a file in a directory that can be written"
    )
