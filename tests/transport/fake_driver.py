"""A driver queue under a test's control, behind a descriptor that trio can wait on."""

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Sequence

import attrs

from mpio_fuse.scsi.command import Completion
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.sg.native import QUEUE_DEPTH, Answer, NodeFacts
from mpio_fuse.transport.sg.node import OpenNode

LUN = 5
HANG_S = 30.0


@attrs.frozen
class Sent:
    """One command as the driver got it; ``data`` is there for as long as the lane pins it."""

    slot: int
    tag: int
    cdb: bytes
    data: "weakref.ref[memoryview]"


class FakeDriver:
    """`CommandQueue` whose answers come when the test says so, and which checks what a real one would.

    The descriptor ``fd`` belongs to the lane under test; ``is_closed`` tells that it was closed.
    """

    def __init__(self) -> None:
        near, self._far = socket.socketpair()
        near.settimeout(0)
        self._far.settimeout(0)
        self.fd = near.detach()
        self.sent: list[Sent] = []
        self.held: dict[int, Sent] = {}
        self.refusals: list[int] = []
        self.read_errno = 0
        self.answers_at_once = False
        self._ready: list[Answer] = []
        self._is_hung_up = False

    def submit(self, slot: int, tag: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> object:
        del timeout_s
        if self.refusals:
            errno = self.refusals.pop(0)
            raise OSError(errno, os.strerror(errno))
        assert slot not in self.held, "two commands in one place"
        assert len(self.held) < QUEUE_DEPTH, "EDOM"
        pinned = memoryview(phase.data)
        command = Sent(slot, tag, cdb, weakref.ref(pinned))
        self.sent.append(command)
        self.held[slot] = command
        if self.answers_at_once:
            self.answer(command)
        return pinned

    def harvest(self, room: int) -> Sequence[Answer]:
        if self.read_errno:
            raise OSError(self.read_errno, os.strerror(self.read_errno))
        taken, self._ready = self._ready[:room], self._ready[room:]
        if not self._ready and not self._is_hung_up:
            with contextlib.suppress(BlockingIOError):  # somebody else was first
                os.read(self.fd, 4096)
        return taken

    def hung_up(self) -> bool:
        return self._is_hung_up

    def answer(self, command: Sent, completion: Completion | None = None) -> None:
        """The command has ended."""
        del self.held[command.slot]
        self.deliver(Answer(command.slot, command.tag, completion or Completion()))

    def answer_all(self, completion: Completion | None = None) -> None:
        """All commands have ended."""
        for command in list(self.held.values()):
            self.answer(command, completion)

    def deliver(self, answer: Answer) -> None:
        """Make an answer readable, whatever it answers."""
        self._ready.append(answer)
        self.wake()

    def wake(self) -> None:
        """Make the descriptor readable."""
        self._far.send(b"!")

    def hang_up(self) -> None:
        """The device is deleted: readable for ever, with no answer in it."""
        self._is_hung_up = True
        self.wake()

    def by_lba(self, lba: int) -> Sent:
        """The command in the driver for this block."""
        (found,) = (sent for sent in self.held.values() if sent.cdb[2:6] == lba.to_bytes(4, "big"))
        return found

    @property
    def is_closed(self) -> bool:
        return _is_closed(self._far)

    def close(self) -> None:
        self._far.close()


class FakeReset:
    """The reset ioctl, which ends while ``may_end`` is set, with ``errno`` or confirmed.  It runs in threads."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.may_end.set()
        self.errno = 0
        self.sent = 0

    def __call__(self, fd: int) -> None:
        os.fstat(fd)
        self.sent += 1
        assert self.may_end.wait(HANG_S)
        os.fstat(fd)
        if self.errno:
            raise OSError(self.errno, os.strerror(self.errno))


class FakeNode:
    """An sg node whose data commands go to a `FakeDriver` and whose others go nowhere."""

    def __init__(self, driver: FakeDriver | None = None) -> None:
        self.driver = driver or FakeDriver()
        near, self._control = socket.socketpair()
        self._control.settimeout(0)
        facts = NodeFacts(30536, (0, 0, 0, LUN), scsi_type=0, max_bytes=1 << 20, max_segments=256)
        self.node = OpenNode(self.driver.fd, near.detach(), facts)

    @property
    def is_control_closed(self) -> bool:
        return _is_closed(self._control)

    def close(self) -> None:
        self.driver.close()
        self._control.close()


def _is_closed(far: socket.socket) -> bool:
    """Whether the other end of a pair was closed."""
    try:
        return far.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
