"""libsgutils2 and the sg driver behind typed Python: the only module that touches the cffi binding.

Every failing call raises `OSError` with the kernel's errno, from one place (`_checked`).  Nothing here waits,
except `pass_through` and `reset_logical_unit`, which are meant for a worker thread.
"""

import enum
import math
import os
from collections.abc import Sequence
from typing import Protocol

import attrs

from mpio_fuse.scsi.command import Completion, HostStatus
from mpio_fuse.transport.data_phase import DataPhase, Direction
from mpio_fuse.transport.sg._sgutils import ffi, lib

QUEUE_DEPTH = lib.MPIO_QUEUE_DEPTH
"""SG_MAX_QUEUE: how many commands the driver keeps per open file; one more fails with EDOM."""

_SENSE_BYTES = lib.MPIO_SENSE_BYTES
_MAX_TIMEOUT_MS = 0x7FFFFFFF
_TEXT_BYTES = 2048
_NO_BUFFER = ffi.NULL

_SG_DIRECTIONS = {
    Direction.NONE: lib.SG_DXFER_NONE,
    Direction.TO_DEVICE: lib.SG_DXFER_TO_DEV,
    Direction.FROM_DEVICE: lib.SG_DXFER_FROM_DEV,
}


class SenseCategory(enum.IntEnum):
    """sg_lib.h's SG_LIB_CAT_* of sense data (see sg3_utils(8), EXIT STATUS)."""

    CLEAN = 0
    NOT_READY = 2
    MEDIUM_HARD = 3
    ILLEGAL_REQUEST = 5
    UNIT_ATTENTION = 6
    DATA_PROTECT = 7
    INVALID_OPERATION_CODE = 9
    COPY_ABORTED = 10
    ABORTED_COMMAND = 11
    MISCOMPARE = 14
    NO_SENSE = 20
    RECOVERED = 21
    LBA_OUT_OF_RANGE = 22
    PROTECTION = 40
    SENSE = 98

    @classmethod
    def _missing_(cls, value: object) -> "SenseCategory":
        """A newer library may name categories this one does not know: it is sense all the same."""
        del value
        return cls.SENSE


@attrs.frozen
class NodeFacts:
    """What the driver says of an open node: its version, its H:C:T:L address and what it can carry."""

    version: int
    address: tuple[int, int, int, int]
    scsi_type: int
    max_bytes: int
    max_segments: int

    @property
    def host(self) -> int:
        """The number of the SCSI host: for iSCSI, of the session."""
        return self.address[0]


@attrs.frozen
class Answer:
    """One answer taken from the driver, with what tells whose it is."""

    slot: int
    tag: int
    completion: Completion


class _RawCompletion(Protocol):
    """``struct mpio_completion`` of ``build.py``."""

    tag: int
    slot: int
    residual_bytes: int
    read_errno: int
    host_status: int
    driver_status: int
    status: int
    sense_bytes: int


class CommandQueue(Protocol):
    """The driver's queue of one open file, `QUEUE_DEPTH` slots long.  Nothing here waits."""

    def submit(self, slot: int, tag: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> object:
        """Queue a command.  What it returns must be kept until the answer is harvested."""
        ...

    def harvest(self, room: int) -> Sequence[Answer]:
        """Take up to ``room`` answers that are ready, filling their buffers."""
        ...

    def hung_up(self) -> bool:
        """Whether the device was deleted: answers may still come, commands no longer go."""
        ...


class SgQueue:
    """`CommandQueue` on the sg driver's write/read form."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._senses = [ffi.new("uint8_t[]", _SENSE_BYTES) for _ in range(QUEUE_DEPTH)]
        self._answers = ffi.new("struct mpio_completion[]", QUEUE_DEPTH)
        self._lengths_bytes = [0] * QUEUE_DEPTH

    def submit(self, slot: int, tag: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> object:
        pinned = _pin(phase)
        self._lengths_bytes[slot] = phase.length_bytes
        result = lib.mpio_submit(
            self._fd, slot, tag, cdb, len(cdb), _SG_DIRECTIONS[phase.direction],
            pinned, phase.length_bytes, _timeout_ms(timeout_s), self._senses[slot],
        )  # fmt: skip
        _checked(result, "write to the sg driver")
        return pinned

    def harvest(self, room: int) -> list[Answer]:
        count = lib.mpio_harvest(self._fd, self._answers, min(room, QUEUE_DEPTH))
        _checked(count, "read from the sg driver")
        return [self._answer(self._answers[index]) for index in range(count)]

    def hung_up(self) -> bool:
        return bool(lib.mpio_hung_up(self._fd))

    def _answer(self, raw: _RawCompletion) -> Answer:
        slot = raw.slot
        if not 0 <= slot < QUEUE_DEPTH:
            return Answer(slot, raw.tag, Completion())
        return Answer(
            slot, raw.tag, _completion(raw, self._senses[slot], self._lengths_bytes[slot])
        )


def pass_through(fd: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> Completion:
    """Run one command through libsgutils2's pass-through and wait for its end, without bound.

    The library gives no driver_status.  Its timeout has a resolution of a second: rounded up.
    """
    pinned = _pin(phase)
    sense = ffi.new("uint8_t[]", _SENSE_BYTES)
    raw = ffi.new("struct mpio_completion *")
    timeout = max(1, math.ceil(min(timeout_s, _MAX_TIMEOUT_MS // 1000)))
    result = lib.mpio_pass_through(
        fd,
        cdb,
        len(cdb),
        _SG_DIRECTIONS[phase.direction],
        pinned,
        phase.length_bytes,
        timeout,
        sense,
        raw,
    )
    _checked(result, "pass-through")
    return _completion(raw, sense, phase.length_bytes)


def reset_logical_unit(fd: int) -> None:
    """Have the low level driver reset the logical unit behind ``fd``, nothing beyond it, and wait, without bound."""
    _checked(lib.mpio_reset_logical_unit(fd), "reset")


def identify(fd: int) -> NodeFacts:
    """What the driver says of the open sg node ``fd``."""
    raw = ffi.new("struct mpio_node *")
    _checked(lib.mpio_identify(fd, raw), "identify")
    return NodeFacts(
        version=raw.version,
        address=(raw.host, raw.channel, raw.target, raw.lun),
        scsi_type=raw.scsi_type,
        max_bytes=raw.max_bytes,
        max_segments=raw.max_segments,
    )


def reserve_buffer(fd: int, wanted_bytes: int) -> int:
    """Ask the driver to keep a buffer for ``fd``; returns how much it keeps."""
    return _checked(lib.mpio_reserve_buffer(fd, wanted_bytes), "reserve a buffer")


def sense_text(sense: bytes) -> str:
    """Sense data in sg_lib's words, on one line; empty for no sense."""
    if not sense:
        return ""
    room = ffi.new("char[]", _TEXT_BYTES)
    lib.sg_get_sense_str(b"", sense, len(sense), 0, _TEXT_BYTES, room)
    lines = ffi.string(room).decode("ascii", "replace").splitlines()
    return "; ".join(stripped for line in lines if (stripped := " ".join(line.split())))


def sense_category(sense: bytes) -> SenseCategory:
    """What kind of trouble the sense data tells of, as sg_lib sorts it."""
    return SenseCategory(lib.sg_err_category_sense(sense, len(sense)))


def _pin(phase: DataPhase) -> object:
    if phase.direction is Direction.NONE:
        return _NO_BUFFER
    writable = phase.direction is Direction.FROM_DEVICE
    pinned: object = ffi.from_buffer("uint8_t[]", phase.data, require_writable=writable)
    return pinned


def _timeout_ms(timeout_s: float) -> int:
    """The driver takes 0 for its own default, so the shortest timeout is a millisecond."""
    if timeout_s * 1000 >= _MAX_TIMEOUT_MS:
        return _MAX_TIMEOUT_MS
    return max(1, math.ceil(timeout_s * 1000))


def _completion(raw: _RawCompletion, sense: object, length_bytes: int) -> Completion:
    # The data of an answer that could not be copied is lost although the target may have said GOOD.
    host_status = raw.host_status or (HostStatus.ERROR if raw.read_errno else HostStatus.OK)
    return Completion(
        status=raw.status,
        host_status=host_status,
        driver_status=raw.driver_status,
        sense=bytes(ffi.buffer(sense, min(raw.sense_bytes, _SENSE_BYTES))),
        residual_bytes=max(0, min(raw.residual_bytes, length_bytes)),
    )


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result
