"""Errors a user or a caller can act on.

Every error says *what* happened, on which logical unit and underpath, and *what to do next*, so that
one line on stderr or in the log is enough.  ``errno`` is what a FUSE request or ``openx`` reports.
"""

import errno as errno_codes


class MpioError(Exception):
    """The base of all errors this package raises on purpose.

    ``str(error)`` is one line: ``<lun>: <underpath>: <what>; <next step>``, absent parts left out.
    """

    errno: int = errno_codes.EIO

    def __init__(
        self,
        what: str,
        *,
        lun: str | None = None,
        underpath: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.lun = lun
        self.underpath = underpath
        self.hint = hint
        where = ": ".join(part for part in (lun, underpath, what) if part)
        super().__init__(f"{where}; {hint}" if hint else where)


class UsageError(MpioError):
    """The caller asked for something that can never work (exit status 2, or EINVAL)."""

    errno = errno_codes.EINVAL


class DecodeError(MpioError):
    """Bytes from a target do not form what they claim to be.  The only exception decoders raise."""


class TransportError(MpioError):
    """A transport could not carry a command at all; nothing is known to have reached the target."""


class TransportGone(TransportError):
    """The device node or session behind an underpath no longer exists; it needs to be opened anew."""

    errno = errno_codes.ENODEV


class OpenRefused(MpioError):
    """A reserve procedure ended in an error; ``errno`` is the end of the patent's flow chart."""

    def __init__(self, what: str, errno: int, **where: str | None) -> None:
        super().__init__(what, **where)
        self.errno = errno


class Fenced(MpioError):
    """Another host took our registration or reservation away while the device was open."""

    errno = errno_codes.EBADE


class NoUsableUnderpath(MpioError):
    """No registered underpath is left to carry a command."""


class MediumError(MpioError):
    """The logical unit answered that the data cannot be read or written; every underpath would say so."""


class WriteProtected(MpioError):
    """The logical unit refuses writes (DATA PROTECT)."""

    errno = errno_codes.EROFS


class NoSpace(MpioError):
    """There is no room: past the end of the device, or the array has none left for these blocks."""

    errno = errno_codes.ENOSPC


class NotSupported(MpioError):
    """The target does not have this command, or not this form of it."""
