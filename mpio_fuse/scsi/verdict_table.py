"""The verdict table: every completion there can be, and what it means (`mpio_fuse.scsi.verdict`).

`TABLE` is data.  A row matches a completion when each field it names holds the completion's value; the
first row that matches decides, and the last one matches everything, so every completion has exactly one
verdict.  The order is the order in which a completion must be looked at:

1. the host status, because a command that the transport failed has SAM status 00 and no sense;
2. the SAM status.  RESERVATION CONFLICT is one, is never in the host status, and never speaks against an
   underpath;
3. the sense of a CHECK CONDITION: deferred errors first, then by sense key, special codes before the
   rest.  Codes are written as key/ASC/ASCQ in hexadecimal, ``*`` for any.
"""

import enum

import attrs

from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.sense import Sense, SenseKey


class Verdict(enum.Enum):
    """What the caller is to do next."""

    GOOD = "done"
    RETRY_HERE = (
        "nothing wrong with the underpath: the same command again, after a pause if repeated"
    )
    RETRY_ELSEWHERE = "this underpath failed, another may not have"
    STANDBY = "the underpath lives but its port serves no data now; another may"
    REEXAMINE = "read keys and reservation, once for the whole LUN, before any other data command"
    RECHECK_IDENTITY = "verify VPD page 0x83, then as REEXAMINE, then the same command again"
    CAPACITY_CHANGED = "read the capacity, then the same command again"
    TASK_ABORTED = "another nexus killed the command: as REEXAMINE, then the same command again"
    DEFERRED_ERROR = "an earlier write that was GOOD is lost: fail the next flush; this one again"
    NOT_READY = "the logical unit cannot: each other underpath once, then fail; fail no underpath"
    MEDIUM_ERROR = "these blocks fail over any underpath: fail the request, fail no underpath"
    NO_SPACE = "the array has no room for these blocks: fail the request, fail no underpath"
    WRITE_PROTECTED = "the logical unit refuses writes: fail the request, fail no underpath"
    NOT_SUPPORTED = "the target does not have this command, or not this form of it"
    INVALID = "the target understood, and what was asked is wrong"
    UNKNOWN = "as REEXAMINE, since a notice may be lost; then as NOT_READY"

    @property
    def blames_underpath(self) -> bool:
        """Whether the completion is evidence that the underpath is down."""
        return self is Verdict.RETRY_ELSEWHERE


@attrs.frozen
class Row:
    """One line of the table; None matches anything.  ``is_deferred`` and what follows need sense."""

    verdict: Verdict
    reason: str
    host_status: int | None = None
    driver_status: int | None = None
    status: int | None = None
    is_deferred: bool | None = None
    key: SenseKey | None = None
    asc: int | None = None
    ascq: int | None = None

    def matches(self, completion: Completion, sense: Sense | None) -> bool:
        """Whether this row is about that completion, whose decoded sense is given, if it has any."""
        wanted_and_found = (
            (self.host_status, completion.host_status),
            (self.driver_status, completion.driver_status),
            (self.status, completion.status),
            (self.is_deferred, sense and sense.is_deferred),
            (self.key, sense and sense.key),
            (self.asc, sense and sense.asc),
            (self.ascq, sense and sense.ascq),
        )
        return all(wanted is None or wanted == found for wanted, found in wanted_and_found)


def _host(code: int, verdict: Verdict, reason: str) -> Row:
    return Row(verdict, reason, host_status=code)


def _driver(code: int, verdict: Verdict, reason: str) -> Row:
    return Row(verdict, reason, host_status=HostStatus.OK, driver_status=code, status=Status.GOOD)


def _status(code: int, verdict: Verdict, reason: str) -> Row:
    return Row(verdict, reason, host_status=HostStatus.OK, status=code)


def _check(codes: str, verdict: Verdict, reason: str, *, is_deferred: bool = False) -> Row:
    key, asc, ascq = (None if code == "*" else int(code, 16) for code in codes.split("/"))
    return Row(
        verdict,
        reason,
        host_status=HostStatus.OK,
        status=Status.CHECK_CONDITION,
        is_deferred=is_deferred,
        key=None if key is None else SenseKey(key),
        asc=asc,
        ascq=ascq,
    )


def _deferred(codes: str, verdict: Verdict, reason: str) -> Row:
    return _check(codes, verdict, reason, is_deferred=True)


_HOST_ROWS = (
    _host(HostStatus.NO_CONNECT, Verdict.RETRY_ELSEWHERE, "no connection to the target"),
    _host(HostStatus.BUS_BUSY, Verdict.RETRY_ELSEWHERE, "the bus stayed busy until the timeout"),
    _host(HostStatus.TIME_OUT, Verdict.RETRY_ELSEWHERE, "no answer in time; it may come yet"),
    _host(HostStatus.BAD_TARGET, Verdict.RETRY_ELSEWHERE, "no such target any more"),
    _host(HostStatus.ABORT, Verdict.RETRY_ELSEWHERE, "error recovery aborted the command"),
    _host(HostStatus.PARITY, Verdict.RETRY_ELSEWHERE, "the link garbled the data"),
    _host(HostStatus.ERROR, Verdict.RETRY_ELSEWHERE, "the adapter reports an internal error"),
    _host(HostStatus.RESET, Verdict.RETRY_ELSEWHERE, "error recovery reset the device or bus"),
    _host(HostStatus.BAD_INTR, Verdict.RETRY_ELSEWHERE, "the adapter lost track of the command"),
    _host(HostStatus.SOFT_ERROR, Verdict.RETRY_HERE, "the low level driver wants a retry"),
    _host(HostStatus.IMM_RETRY, Verdict.RETRY_HERE, "the low level driver wants a retry at once"),
    _host(HostStatus.REQUEUE, Verdict.RETRY_HERE, "the low level driver wants it queued again"),
    _host(HostStatus.TRANSPORT_DISRUPTED, Verdict.RETRY_ELSEWHERE, "the link broke meanwhile"),
    _host(HostStatus.TRANSPORT_FAILFAST, Verdict.RETRY_ELSEWHERE, "the link is given up"),
    _host(HostStatus.TRANSPORT_MARGINAL, Verdict.RETRY_ELSEWHERE, "the link is called marginal"),
)

# The driver byte of kernels before 5.14.  0x08 only says that there is sense, and is no row.
_DRIVER_ROWS = (
    _driver(0x06, Verdict.RETRY_ELSEWHERE, "DRIVER_TIMEOUT: no answer in time; it may come yet"),
    *(
        _driver(code, Verdict.UNKNOWN, "the kernel's driver byte reports an error")
        for code in (0x01, 0x02, 0x03, 0x04, 0x05, 0x07)
    ),
)

_STATUS_ROWS = (
    _status(Status.GOOD, Verdict.GOOD, "sense beside GOOD is information only"),
    _status(Status.CONDITION_MET, Verdict.GOOD, "GOOD, of commands that test a condition"),
    _status(Status.BUSY, Verdict.RETRY_HERE, "the target cannot take a command now"),
    _status(Status.TASK_SET_FULL, Verdict.RETRY_HERE, "too many commands are queued"),
    _status(Status.ACA_ACTIVE, Verdict.RETRY_HERE, "an auto contingent allegiance is pending"),
    _status(Status.RESERVATION_CONFLICT, Verdict.REEXAMINE, "fenced, or only not registered"),
    _status(Status.TASK_ABORTED, Verdict.TASK_ABORTED, "as by another host's Preempt And Abort"),
)

_DEFERRED_ROWS = (
    _deferred("1/*/*", Verdict.RETRY_HERE, "an earlier command was recovered; this one not done"),
    _deferred("*/*/*", Verdict.DEFERRED_ERROR, "an earlier command failed; this one not done"),
)

_NOT_READY_ROWS = (
    _check("2/04/01", Verdict.RETRY_HERE, "it starts up and needs no help"),
    _check("2/04/0a", Verdict.STANDBY, "ALUA: the port group changes state"),
    _check("2/04/0b", Verdict.STANDBY, "ALUA: another port group serves the data"),
    _check("2/04/0c", Verdict.STANDBY, "ALUA: this port group serves nothing at present"),
    # LIO says 2/08/00 when its backing store fails, while TEST UNIT READY stays fine.
    _check("2/*/*", Verdict.NOT_READY, "the logical unit's fault, not the link's"),
)

_ILLEGAL_REQUEST_ROWS = (
    _check("5/20/00", Verdict.NOT_SUPPORTED, "the target does not have the command"),
    _check("5/24/00", Verdict.NOT_SUPPORTED, "not this service action, page or bit"),
    _check("5/25/00", Verdict.RETRY_ELSEWHERE, "this underpath leads to the unit no longer"),
    _check("5/*/*", Verdict.INVALID, "every underpath would say so"),
)

_UNIT_ATTENTION_ROWS = (
    _check("6/28/*", Verdict.RECHECK_IDENTITY, "another medium may be there"),
    _check("6/29/*", Verdict.RECHECK_IDENTITY, "a reset, a restart or a new nexus"),
    _check("6/2a/00", Verdict.REEXAMINE, "parameters changed, it does not say which"),
    _check("6/2a/03", Verdict.REEXAMINE, "a CLEAR, or on tgt a PREEMPT, and no other notice"),
    _check("6/2a/04", Verdict.REEXAMINE, "the holder released"),
    _check("6/2a/05", Verdict.REEXAMINE, "this nexus was preempted, and no other notice"),
    _check("6/2a/09", Verdict.CAPACITY_CHANGED, "the logical unit was resized"),
    _check("6/2f/*", Verdict.REEXAMINE, "another initiator cleared our commands"),
    _check("6/3f/*", Verdict.RECHECK_IDENTITY, "what the target says of itself has changed"),
    _check("6/*/*", Verdict.RETRY_HERE, "a notice of nothing we depend on; command not done"),
)

_OTHER_KEY_ROWS = (
    _check("1/*/*", Verdict.GOOD, "done, with the target's own recovery"),
    _check("3/*/*", Verdict.MEDIUM_ERROR, "the medium is the same behind every underpath"),
    _check("4/*/*", Verdict.NOT_READY, "the controller's or the disk's fault, not the link's"),
    _check("7/27/07", Verdict.NO_SPACE, "the pool behind a thin logical unit is full"),
    _check("7/*/*", Verdict.WRITE_PROTECTED, "the medium is protected"),
    _check("b/*/*", Verdict.RETRY_HERE, "the target gave the command up and it may be repeated"),
    _check("d/*/*", Verdict.INVALID, "beyond the end of the medium"),
    _check("e/*/*", Verdict.INVALID, "a comparison differs, and we asked for none"),
    _check("f/*/*", Verdict.GOOD, "the command completed; the sense is information"),
)

TABLE: tuple[Row, ...] = (
    *_HOST_ROWS,
    *_DRIVER_ROWS,
    *_STATUS_ROWS,
    *_DEFERRED_ROWS,
    *_NOT_READY_ROWS,
    *_ILLEGAL_REQUEST_ROWS,
    *_UNIT_ATTENTION_ROWS,
    *_OTHER_KEY_ROWS,
    Row(Verdict.UNKNOWN, "no other row knows this; nothing is assumed to have worked"),
)
