"""What an earlier opener of an sg node left in the kernel: commands that outlive the process that sent them.

Theory of operation
-------------------
A process dies, or closes, and its writes may hang in the initiator.  The session and the nexus stay, so whoever opens
the node next speaks over the same one; were that nexus registered now, the array would let the old writes in.

The kernel counts for each SCSI device the commands that it gave to the low level driver and those that it got back
(``iorequest_cnt`` and ``iodone_cnt``, 32 bits, in hexadecimal).  The difference is what is under way.  It includes the
new opener's commands and those of other users of the device.  So it tells nothing about whose they are; but once it was
zero after the open, everything older is over, and nothing is read from then on.

- *A race must not hide a command.*  What is done is read before what was requested: a command that comes and goes in
  between then counts too many.  And ours may be over in the kernel before we know, so ours alone never make it zero.
- *A blocked device* (a session in recovery) has commands waiting that the kernel has not counted yet.  Whatever the
  counters say, there may be one.
- *Counters go wrong.*  A command that timed out is never counted as done (seen on Linux 6.1), and some kernels count
  one that could not be dispatched as requested each time.  The difference then never gets back to zero.  So where they
  do not agree, or the device is blocked, the driver's own table is asked (`driver_table`), which is exact.
- *A limit*, where there is no such table: after `LIMIT_S` a difference is no longer believed, except while blocked.
"""

from collections.abc import Callable
from pathlib import Path

LIMIT_S = 120.0
"""As long as open-iscsi keeps the commands of a lost session, unless told otherwise (``replacement_timeout``)."""

_COUNTER_BITS = 32
_MOST_TEXT_BYTES = 64


class Inherited:
    """Commands under way to one SCSI device that its opener did not send.  Counting begins when it is made.

    ``device`` is the SCSI device's directory in sysfs, ``clock`` tells seconds, ``ask_driver`` how many commands its
    sg driver has under way, or None.  A directory that does not tell, or tells nonsense, stands for no commands.
    """

    def __init__(
        self, device: Path, clock: Callable[[], float], ask_driver: Callable[[], int | None]
    ) -> None:
        self._device = device
        self._clock = clock
        self._ask_driver = ask_driver
        self._believed_until_s = clock() + LIMIT_S
        self._is_over = False
        self.count(0)

    def count(self, ours: int) -> int:
        """How many there may be, where ``ours`` are known to be the opener's own; 0 for good once there were none."""
        if self._is_over:
            return 0
        under_way = self._under_way()
        self._is_over = under_way == 0
        return 0 if self._is_over else max(1, under_way - ours)

    def _under_way(self) -> int:
        """Of anybody, ours included; never less than there are."""
        is_blocked = self._text("state") == "blocked"
        counted = self._counted()
        if not counted and not is_blocked:
            return 0
        told = self._ask_driver()
        if told is not None:
            return told
        if is_blocked:
            self._believed_until_s = self._clock() + LIMIT_S
            return max(1, counted)
        return counted if self._clock() < self._believed_until_s else 0

    def _counted(self) -> int:
        """What the kernel has not got back, by its counters; never negative."""
        done = self._counter("iodone_cnt")
        requested = self._counter("iorequest_cnt")
        if done is None or requested is None:
            return 0
        difference = (requested - done) % (1 << _COUNTER_BITS)
        return 0 if difference >> (_COUNTER_BITS - 1) else difference

    def _counter(self, name: str) -> int | None:
        """None: the kernel does not tell."""
        try:
            value = int(self._text(name), 16)
        except ValueError:
            return None
        return value if 0 <= value < 1 << _COUNTER_BITS else None

    def _text(self, name: str) -> str:
        try:
            with (self._device / name).open("rb") as file:
                return file.read(_MOST_TEXT_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
