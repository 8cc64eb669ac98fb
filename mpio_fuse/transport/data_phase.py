"""The data a command carries, checked before it is handed to anything that takes raw addresses.

Every transport calls `data_phase_of` first, so that all of them refuse the same commands, in the same words,
before anything is sent.
"""

import enum

import attrs

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Buffer, Command

MIN_CDB_BYTES = 6
MAX_CDB_BYTES = 252


class Direction(enum.Enum):
    """Which way the data of a command goes."""

    NONE = "none"
    TO_DEVICE = "to device"
    FROM_DEVICE = "from device"


@attrs.define  # and never changed: to make a frozen one takes twice as long
class DataPhase:
    """One command's buffer as a flat run of bytes; `Direction.NONE` has an empty one."""

    direction: Direction
    data: Buffer
    length_bytes: int


NO_DATA = DataPhase(Direction.NONE, b"", 0)


def data_phase_of(command: Command, max_transfer_bytes: int) -> DataPhase:
    """What ``command`` transfers.

    Raises:
        UsageError: both directions, a buffer that is not one run of bytes, read-only for data-in, or
            longer than ``max_transfer_bytes``, or a CDB of impossible length.
    """
    if not MIN_CDB_BYTES <= len(command.cdb) <= MAX_CDB_BYTES:
        raise _refused(command, f"a CDB of {len(command.cdb)} bytes, not 6 to 252")
    phase = _phase(command)
    if phase.length_bytes > max_transfer_bytes:
        raise _refused(
            command,
            f"{phase.length_bytes} bytes, more than the {max_transfer_bytes} this underpath carries",
        )
    return phase


def _phase(command: Command) -> DataPhase:
    data_in = command.data_in
    if type(data_in) is bytearray and data_in and not command.data_out:
        return DataPhase(Direction.FROM_DEVICE, data_in, len(data_in))
    length_out = _length_bytes(command, command.data_out)
    if command.data_in is None:
        return (
            DataPhase(Direction.TO_DEVICE, command.data_out, length_out) if length_out else NO_DATA
        )
    length_in = _length_bytes(command, command.data_in)
    if length_out:
        raise _refused(command, "data in both directions")
    if memoryview(command.data_in).readonly:
        raise _refused(command, "a read-only buffer for data-in")
    return DataPhase(Direction.FROM_DEVICE, command.data_in, length_in) if length_in else NO_DATA


def _length_bytes(command: Command, data: Buffer) -> int:
    if isinstance(data, bytes | bytearray):
        return len(data)
    if not data.c_contiguous or data.ndim != 1 or data.itemsize != 1:
        raise _refused(command, "a buffer that is not one run of single bytes")
    return data.nbytes


def _refused(command: Command, what: str) -> UsageError:
    return UsageError(f"{command.name}: {what}; nothing was sent")
