"""What no transport sends."""

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Buffer, Command
from mpio_fuse.transport.data_phase import NO_DATA, Direction, data_phase_of

CDB = bytes(10)


@pytest.mark.parametrize("data", [b"abcd", bytearray(b"abcd"), memoryview(b"zabcd")[1:]])
def test_data_out(data: Buffer) -> None:
    phase = data_phase_of(Command("WRITE", CDB, data_out=data), 4)
    assert (phase.direction, bytes(phase.data), phase.length_bytes) == (
        Direction.TO_DEVICE,
        b"abcd",
        4,
    )


@pytest.mark.parametrize("data", [bytearray(4), memoryview(bytearray(8))[2:6]])
def test_data_in(data: bytearray | memoryview) -> None:
    phase = data_phase_of(Command("READ", CDB, data_in=data), 4)
    assert (phase.direction, phase.length_bytes) == (Direction.FROM_DEVICE, 4)
    assert phase.data is data


@pytest.mark.parametrize("data_in", [None, bytearray(), memoryview(bytearray())])
def test_no_data(data_in: bytearray | memoryview | None) -> None:
    assert data_phase_of(Command("TEST", CDB, data_in=data_in), 4) == NO_DATA


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Command("C", CDB, data_out=bytes(5)), "5 bytes, more than the 4"),
        (Command("C", CDB, data_in=bytearray(5)), "5 bytes, more than the 4"),
        (Command("C", CDB, data_out=b"a", data_in=bytearray(1)), "both directions"),
        (Command("C", CDB, data_in=memoryview(b"abc")), "read-only"),
        (Command("C", CDB, data_out=memoryview(bytes(4))[::2]), "one run"),
        (Command("C", CDB, data_out=memoryview(bytes(4)).cast("H")), "one run"),
        (Command("C", CDB, data_in=memoryview(bytearray(4)).cast("B", (2, 2))), "one run"),
        (Command("C", bytes(5)), "CDB of 5 bytes"),
        (Command("C", bytes(253)), "CDB of 253 bytes"),
        (Command("C", b""), "CDB of 0 bytes"),
    ],
)
def test_refused(command: Command, why: str) -> None:
    with pytest.raises(UsageError, match=f"^C: .*{why}.*; nothing was sent$"):
        data_phase_of(command, 4)
