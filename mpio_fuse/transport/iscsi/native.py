"""libiscsi behind typed Python: the only module that touches the cffi binding.

Nothing here waits.  `NativeSession` is one login's worth of session: whoever owns it waits for its socket, calls
`pump`, and takes what has ended.  After `has_failed` only `close` is left to do.

The extension is loaded with RTLD_DEEPBIND, which makes libiscsi find the socket functions of ``wire.c`` before those of
the C library.  Its session refuses to log in where that did not work.
"""

import enum
import os
import sys
from collections.abc import Sequence
from typing import Protocol

import attrs

from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.command import Completion
from mpio_fuse.transport.data_phase import DataPhase, Direction

_flags = sys.getdlopenflags()
sys.setdlopenflags(_flags | os.RTLD_DEEPBIND)
try:
    from mpio_fuse.transport.iscsi._libiscsi import ffi, lib
finally:
    sys.setdlopenflags(_flags)

DEPTH = lib.MPIO_DEPTH
"""How many commands one session keeps; the target's own window (MaxCmdSN) may let fewer out at once."""

MAX_CDB_BYTES = lib.MPIO_CDB_BYTES
"""libiscsi does not send the additional header that a longer CDB needs."""

LOST = lib.MPIO_LOST
WANTS_WRITE = lib.MPIO_WANTS_WRITE
MORE = lib.MPIO_MORE
"""What a `NativeSession.pump` leaves: the session has failed; the socket is full; there is more to take in."""

_XFER_NONE, _XFER_WRITE, _XFER_READ = lib.SCSI_XFER_NONE, lib.SCSI_XFER_WRITE, lib.SCSI_XFER_READ
_NO_DATA = ffi.NULL
_BYTES = ffi.typeof("uint8_t[]")


class Login(enum.IntEnum):
    """How far a session's login is."""

    UNDER_WAY = 0
    DONE = 1
    REFUSED = 2
    REDIRECTED = 3


@attrs.frozen
class Negotiated:
    """What the target said in its login: bytes in one PDU, unsolicited, and for one R2T; 0: it did not say."""

    segment_bytes: int
    first_burst_bytes: int
    max_burst_bytes: int


@attrs.frozen
class Answer:
    """The end of one command that did not plainly succeed."""

    slot: int
    completion: Completion


class _RawAnswer(Protocol):
    """``struct mpio_answer`` of ``session.h``."""

    slot: int
    host_status: int
    residual_bytes: int
    status: int
    sense_bytes: int
    sense: object


class NativeSession:
    """One session of libiscsi, from its first connect to its end."""

    def __init__(
        self,
        initiator_name: str,
        target_name: str | None,
        isid: tuple[int, int],
        lun: int,
        *,
        wants_digest: bool,
    ) -> None:
        """``target_name`` None: for discovery only.  ``isid``: 24 and 16 bits, of the "random" form."""
        self._raw = lib.mpio_open(
            initiator_name.encode(),
            ffi.NULL if target_name is None else target_name.encode(),
            *isid,
            lun,
            wants_digest,
        )
        if not self._raw:
            raise MpioError("no memory for an iSCSI session")
        self._good = ffi.buffer(self._raw.good)

    def authenticate(
        self, user: str, password: str, target_user: str, target_password: str
    ) -> None:
        """Use CHAP; with a target's name and password, mutual."""
        words = (user, password, target_user, target_password)
        lib.mpio_authenticate(self._raw, *(word.encode() for word in words))

    def connect(self, address: str, port: int) -> bool:
        """Begin to connect to a numeric address; False: failed at once."""
        portal = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return bool(lib.mpio_connect(self._raw, portal.encode()) == 0)

    def pump(self, *, is_readable: bool = False, is_connecting: bool = False) -> int:
        """Do all that can be done now; `good` and `answers` have what ended.  Returns `LOST`, `WANTS_WRITE`, `MORE`."""
        return lib.mpio_pump(self._raw, is_readable, is_connecting)

    def good(self) -> Sequence[int]:
        """The slots of the commands that the last `pump` saw succeed, with all their data."""
        count = self._raw.good_count
        return bytes(self._good[:count]) if count else b""

    def answers(self) -> Sequence[Answer]:
        """What else the last `pump` saw end."""
        if not self._raw.answer_count:
            return ()
        return [self._answer(self._raw.answers[index]) for index in range(self._raw.answer_count)]

    def submit(self, slot: int, cdb: bytes, phase: DataPhase) -> object:
        """Queue a command, which the next `pump` sends.  What it returns must be kept until the answer.

        Raises:
            OSError: it was not taken.
        """
        pinned = _pin(phase)
        direction = _xfer(phase.direction)
        result = lib.mpio_submit(
            self._raw, slot, cdb, len(cdb), direction, pinned, phase.length_bytes
        )
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return pinned

    def abort(self, slot: int) -> bool:
        """Have the target abort a command; False when it cannot be asked."""
        return bool(lib.mpio_abort(self._raw, slot) == 0)

    def reset_logical_unit(self) -> bool:
        """Ask for a LOGICAL UNIT RESET; False when one is under way or it cannot be asked."""
        return bool(lib.mpio_reset(self._raw) == 0)

    def reset_response(self) -> int | None:
        """The target's response (RFC 7143 11.6.1), once; None while there is none."""
        response = lib.mpio_reset_response(self._raw)
        return None if response < 0 else response

    def ping(self) -> None:
        """Send a NOP-Out, with the next `pump`."""
        lib.mpio_ping(self._raw)

    def list_targets(self) -> bool:
        """Ask for SendTargets=All; False when it cannot be asked."""
        return bool(lib.mpio_list_targets(self._raw) == 0)

    def targets(self) -> Sequence[tuple[str, str]] | None:
        """The answer, as pairs of "T" and a target's name, "P" and a portal; None while there is none.

        Raises:
            MpioError: the target refused, or its answer is none.
        """
        if self._raw.listing == 0:
            return None
        if self._raw.listing != 1:
            raise MpioError(f"no list of targets: {self.error}")
        text = (
            bytes(ffi.buffer(self._raw.targets, self._raw.targets_bytes))
            if self._raw.targets
            else b""
        )
        items = text.decode("utf-8", "backslashreplace").split("\0")
        return [(item[0], printable(item[1:])) for item in items if item]

    def close(self) -> None:
        """End the connection.  No buffer of any command is in use after this.  May be called again."""
        if self._raw:
            lib.mpio_close(self._raw)
            self._raw = None

    @property
    def fd(self) -> int:
        return int(self._raw.fd)

    @property
    def login(self) -> Login:
        return Login(self._raw.login)

    @property
    def login_status(self) -> int:
        """Class and detail of the last login response (RFC 7143 11.13.5)."""
        return int(self._raw.login_status)

    @property
    def negotiated(self) -> Negotiated:
        raw = self._raw
        return Negotiated(raw.segment_bytes, raw.first_burst_bytes, raw.max_burst_bytes)

    @property
    def redirected_to(self) -> str:
        """The portal named instead, after `Login.REDIRECTED`."""
        return _text(lib.mpio_target_address(self._raw))

    @property
    def in_flight(self) -> int:
        return int(self._raw.in_flight)

    @property
    def pings_out(self) -> int:
        """How many NOP-Outs have no answer."""
        return int(self._raw.pings_out)

    @property
    def silent_s(self) -> float:
        """Since when nothing has come in."""
        return lib.mpio_silent_ms(self._raw) / 1000

    @property
    def unacknowledged_s(self) -> float:
        """For how long the other end's kernel has owed us an acknowledgement; 0: it owes none."""
        return lib.mpio_unacknowledged_ms(self._raw) / 1000

    @property
    def error(self) -> str:
        """Why it failed, printable."""
        return _text(self._raw.error)

    @staticmethod
    def _answer(raw: _RawAnswer) -> Answer:
        sense = bytes(ffi.buffer(raw.sense, raw.sense_bytes)) if raw.sense_bytes else b""
        return Answer(
            raw.slot,
            Completion(
                status=raw.status,
                host_status=raw.host_status,
                sense=sense,
                residual_bytes=raw.residual_bytes,
            ),
        )


def printable(text: str) -> str:
    """A target's text without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _text(raw: object) -> str:
    return printable(ffi.string(raw).decode("utf-8", "backslashreplace").strip())


def _xfer(direction: Direction) -> int:
    """Not by a table: to hash a member takes longer than to compare it."""
    if direction is Direction.FROM_DEVICE:
        return _XFER_READ
    return _XFER_WRITE if direction is Direction.TO_DEVICE else _XFER_NONE


def _pin(phase: DataPhase) -> object:
    if phase.direction is Direction.NONE:
        return _NO_DATA
    writable = phase.direction is Direction.FROM_DEVICE
    pinned: object = ffi.from_buffer(_BYTES, phase.data, require_writable=writable)
    return pinned
