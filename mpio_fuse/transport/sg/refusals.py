"""What it means when the driver does not take a command, or a reset: the errno of write(2), pass-through or ioctl.

ENXIO and ENODEV look alike and are opposites.  ENXIO: the device is there and offline, and works again
when somebody (the iSCSI initiator, an administrator) sets it running, on this same descriptor; so it is a
`Completion` with NO_CONNECT, which is also what the driver reports for the same state when the command is
queued.  ENODEV: the device was deleted; nothing done to this descriptor brings it back.
"""

import enum
import errno as errno_codes


class Refusal(enum.Enum):
    """Why a command was not taken; in every case nothing was sent."""

    GONE = "the device was deleted"
    OFFLINE = "the device is offline"
    TRY_LATER = "the driver has no room or memory just now"
    IMPOSSIBLE = "the driver does not take this command from this process"


_BY_ERRNO = {
    errno_codes.ENODEV: Refusal.GONE,
    errno_codes.ENXIO: Refusal.OFFLINE,
    errno_codes.EAGAIN: Refusal.TRY_LATER,
    errno_codes.EBUSY: Refusal.TRY_LATER,
    # Not of write(2), which does not wait; and the pass-through blocks signals.
    errno_codes.EINTR: Refusal.TRY_LATER,
    errno_codes.ENOMEM: Refusal.TRY_LATER,
    # The queue is full.  It is bounded here, so only a kernel with a shorter one says so.
    errno_codes.EDOM: Refusal.TRY_LATER,
}


def refusal_of(error: OSError) -> Refusal:
    """What ``error``, raised while a command was handed over, means for it."""
    return _BY_ERRNO.get(error.errno or 0, Refusal.IMPOSSIBLE)


def next_step(error: OSError) -> str:
    """What a person can do about an `Refusal.IMPOSSIBLE` one."""
    if error.errno == errno_codes.EPERM:
        # sg_check_file_access: the opener's credentials must be the caller's, and a fork copies them.
        return (
            "a node must be opened by the process that uses it: after fork, and after changing user"
        )
    return "report this with the kernel's version"


def reset_problem(error: OSError) -> tuple[str, str]:
    """Why SG_SCSI_RESET did not succeed, and what a person can do; `Refusal.GONE` apart."""
    match error.errno:
        case errno_codes.EAGAIN | errno_codes.EBUSY:
            # O_NONBLOCK: nothing was sent.  Another reset on that SCSI host counts as recovery too.
            return "error recovery of its SCSI host is under way", "try again when that is over"
        case errno_codes.EACCES | errno_codes.EPERM:
            return "not allowed (CAP_SYS_ADMIN and CAP_SYS_RAWIO are needed)", "run as root"
        case errno_codes.EIO:
            # Also what a session says at once that is not logged in, and a low level driver without the function.
            why = "the target did not answer, or has no such function, or the session is down"
            return why, "try it over another underpath, and see the kernel's log"
        case _:
            return error.strerror or str(error), "see the kernel's log"
