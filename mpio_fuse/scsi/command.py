"""One SCSI command and its completion: what every transport takes and gives.

A `Command` is built by the functions of this package and never changes.  A `Completion` holds what
the initiator side saw, as it saw it: the SAM status and the transport's host and driver status are
different things and are never folded into one (a transport failure has status 00).
"""

import enum

import attrs

Buffer = bytes | bytearray | memoryview


class Status(enum.IntEnum):
    """SAM-5 5.3.1, Table 35: status codes."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class HostStatus(enum.IntEnum):
    """The kernel's DID_* codes: what happened to the command below SCSI (include/scsi/scsi_status.h).

    Every transport reports in these terms, also those that are not the kernel.
    """

    OK = 0x00
    NO_CONNECT = 0x01
    BUS_BUSY = 0x02
    TIME_OUT = 0x03
    BAD_TARGET = 0x04
    ABORT = 0x05
    PARITY = 0x06
    ERROR = 0x07
    RESET = 0x08
    BAD_INTR = 0x09
    PASSTHROUGH = 0x0A
    SOFT_ERROR = 0x0B
    IMM_RETRY = 0x0C
    REQUEUE = 0x0D
    TRANSPORT_DISRUPTED = 0x0E
    TRANSPORT_FAILFAST = 0x0F
    TRANSPORT_MARGINAL = 0x14


@attrs.frozen
class Command:
    """A CDB with its data.  At most one of ``data_out`` and ``data_in`` is used.

    ``data_in`` is a writable buffer that the transport fills; the caller must not touch it, nor change
    ``data_out``, until the transport is done with the command (see `mpio_fuse.transport.contract`).
    """

    name: str
    cdb: bytes = attrs.field(repr=lambda cdb: cdb.hex(" "))
    data_out: Buffer = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    data_in: bytearray | memoryview | None = attrs.field(
        default=None, repr=lambda data: "None" if data is None else f"<{len(data)} bytes>"
    )
    timeout_s: float = 30.0


@attrs.frozen
class Completion:
    """How a command ended.  ``status`` and ``host_status`` may hold codes the enums do not name.

    ``residual_bytes`` is how much of the data buffer was not transferred; never negative and never more
    than the buffer's length, whatever the target claimed.
    """

    status: int = Status.GOOD
    host_status: int = HostStatus.OK
    driver_status: int = 0
    sense: bytes = attrs.field(default=b"", repr=lambda sense: sense.hex(" "))
    residual_bytes: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the target executed the command and says so; sense on GOOD is for information."""
        return self.status == Status.GOOD and self.host_status == HostStatus.OK

    @property
    def is_plainly_good(self) -> bool:
        """GOOD, and all the data were transferred."""
        return self is GOOD or (self.is_good and not self.residual_bytes)


GOOD = Completion()
"""What nearly all commands end with: one for all, which is known by being itself."""


def received(command: Command, completion: Completion) -> bytes:
    """The bytes a data-in command really received: its buffer less the residual."""
    if command.data_in is None:
        return b""
    return bytes(command.data_in[: len(command.data_in) - completion.residual_bytes])
