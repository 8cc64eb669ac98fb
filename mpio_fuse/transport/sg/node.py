"""Opening an sg node: what it must be, how large its transfers may be, and which errors say what.

A node is looked at before it is opened: opening something else read-write can rewind a tape, arm a
watchdog or make udev probe a disk.
"""

import errno as errno_codes
import os
import resource
import stat
from pathlib import Path

import attrs

from mpio_fuse.errors import MpioError, TransportError, TransportGone, UsageError
from mpio_fuse.transport.sg import native

SCSI_GENERIC_MAJOR = 21
"""Documentation/admin-guide/devices.txt: 21 char is the sg driver."""

_MIN_VERSION = 30000
_MAX_RESERVED_BYTES = 1 << 20


@attrs.frozen
class OpenNode:
    """Two open files on one sg node: each has a queue of its own in the driver."""

    queue_fd: int
    control_fd: int
    facts: native.NodeFacts

    @property
    def max_transfer_bytes(self) -> int:
        """The least the driver promises: a scatter list whose every element is a single page."""
        return min(self.facts.max_bytes, self.facts.max_segments * resource.getpagesize())


def open_node(device_node: str) -> OpenNode:
    """Open ``device_node`` for commands.

    Raises:
        UsageError: it is not an sg node.
        TransportGone: there is no such node, or no device behind it.
        TransportError: it cannot be opened now, or not by this user.
    """
    queue_fd = _open_sg(device_node)
    try:
        control_fd = _open_sg(device_node)
    except BaseException:
        os.close(queue_fd)
        raise
    try:
        return OpenNode(queue_fd, control_fd, _agreed_facts(device_node, queue_fd, control_fd))
    except BaseException:
        os.close(queue_fd)
        os.close(control_fd)
        raise


def _open_sg(device_node: str) -> int:
    try:
        _require_sg(device_node, Path(device_node).stat())
        # O_NONBLOCK: neither the open nor a write waits for the host's error recovery.
        fd = os.open(device_node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _open_error(device_node, error) from error
    try:
        _require_sg(device_node, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_sg(device_node: str, status: os.stat_result) -> None:
    if stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == SCSI_GENERIC_MAJOR:
        return
    raise UsageError(
        f"not a SCSI generic node but {_kind(status)}",
        underpath=device_node,
        hint="name the /dev/sg* node of the disk (lsscsi -g lists them)",
    )


def _kind(status: os.stat_result) -> str:
    if stat.S_ISBLK(status.st_mode):
        return "a block device"
    if stat.S_ISCHR(status.st_mode):
        return "another character device"
    return "a directory" if stat.S_ISDIR(status.st_mode) else "a file"


def _open_error(device_node: str, error: OSError) -> MpioError:
    match error.errno:
        case errno_codes.ENOENT | errno_codes.ENOTDIR:
            what, hint = "no such device node", "lsscsi -g lists the nodes there are"
        case errno_codes.ENXIO | errno_codes.ENODEV:
            what, hint = (
                "no device behind this node",
                "rescan the SCSI host, or remove the stale node",
            )
        case errno_codes.EACCES | errno_codes.EPERM:
            what, hint = (
                "no permission to open it",
                "run as root or as a member of the node's group",
            )
        case errno_codes.EBUSY:
            what, hint = "another program holds it exclusively", "fuser shows which one"
        case _:
            what, hint = f"cannot be opened: {error.strerror}", "see the kernel's log"
    gone = error.errno in {
        errno_codes.ENOENT,
        errno_codes.ENOTDIR,
        errno_codes.ENXIO,
        errno_codes.ENODEV,
    }
    raised = (TransportGone if gone else TransportError)(what, underpath=device_node, hint=hint)
    raised.errno = error.errno or errno_codes.EIO
    return raised


def _agreed_facts(device_node: str, queue_fd: int, control_fd: int) -> native.NodeFacts:
    """The facts of both files, which must be of one device: a node can be reused between two opens."""
    try:
        facts, control_facts = native.identify(queue_fd), native.identify(control_fd)
    except OSError as error:
        raise _open_error(device_node, error) from error
    if facts != control_facts:
        raise TransportGone(
            "the device behind this node changed while it was opened", underpath=device_node
        )
    if facts.version < _MIN_VERSION:
        raise UsageError(
            f"sg driver version {facts.version} is too old, 3.0 is needed", underpath=device_node
        )
    return facts


def reserve_transfer_buffer(node: OpenNode) -> None:
    """Let the driver keep one large buffer, which saves allocating and zeroing for each large transfer.

    It serves one command at a time and is only an advantage: being refused it changes nothing.
    """
    wanted_bytes = min(node.max_transfer_bytes, _MAX_RESERVED_BYTES)
    try:
        native.reserve_buffer(node.queue_fd, wanted_bytes)
    except OSError:
        return
