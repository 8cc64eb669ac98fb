"""Host a writes without a pause, host b takes the LUN over by a forced open; tells what came of it.

``python -m tests.lab.takeover_by A_LUN B_LUN``, run as host b, prints a JSON object:

``writers``   for each handle of host a the ``errno`` of the write that ended it, and for each of its slots on the LUN
              the serial number of the write last ``acknowledged``, of the one last ``attempted``, and all those
              ``seen`` in its blocks when b's open had returned
``dead``      errnos of a read, a write and an fsync of each handle of host a: when all had ended, some seconds
              later, and when b had closed and a new open of host a had been granted
``beside``    errno of a new default open of host a while b has the LUN
``changed``   how many blocks were not the same some seconds later
``again``     the serial number that the new open of host a wrote and read back

The kernel lets one direct write into a file at a time.  Each set of options has an inode of its own, so host a's
handles are opened with different ones: a write of each is in flight.
"""

import errno
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import attrs

from mpio_fuse import openx
from tests.lab.open_by import is_settled, state_of

OPTIONS = ("default", "retain", "forced", "forced+retain")
BLOCK_BYTES = 4096
WRITE_BYTES = 64 * BLOCK_BYTES
SLOTS = 8
REGION_BYTES = SLOTS * WRITE_BYTES
AT_FULL_SPEED = 3 * SLOTS
"""The serial number from which on every slot has been written more than once."""

LINGER_S = 3.0
"""No waiting for anything: it is what a write that is still under way somewhere would need to land."""


def stamped(options: str, serial: int) -> bytes:
    """The data of one write: each block tells which write it is from."""
    block = f"{options} {serial:012d} ".encode().ljust(BLOCK_BYTES, b".")
    return block * (WRITE_BYTES // BLOCK_BYTES)


def serial_in(block: bytes, options: str) -> int:
    """The serial number that a block is stamped with; 0: it is from before."""
    found = re.match(rf"{re.escape(options)} (\d{{12}}) ".encode(), block)
    return int(found[1]) if found else 0


def errno_of(action: Callable[[], object]) -> str | None:
    """The name of the error that it ends in."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


@attrs.define(eq=False)
class Writer:
    """One handle of host a, and the thread that writes with it until it fails."""

    options: str
    offset_bytes: int
    fd: int
    is_at_full_speed: Event = attrs.Factory(Event)
    attempted: list[int] = attrs.field(factory=lambda: [0] * SLOTS)
    acknowledged: list[int] = attrs.field(factory=lambda: [0] * SLOTS)
    errno: str | None = None

    def run(self) -> None:
        serial = 0
        while self.errno is None:
            serial += 1
            self.errno = errno_of(lambda: self._write(serial))  # noqa: B023 - called at once
            if serial == AT_FULL_SPEED:
                self.is_at_full_speed.set()

    def _write(self, serial: int) -> None:
        slot = serial % SLOTS
        self.attempted[slot] = serial
        data = stamped(self.options, serial)
        if os.pwrite(self.fd, data, self.offset_bytes + slot * WRITE_BYTES) != len(data):
            raise OSError(errno.ENODATA, "a short write")
        self.acknowledged[slot] = serial

    def is_dead_with(self) -> list[str | None]:
        return [
            errno_of(lambda: os.pread(self.fd, BLOCK_BYTES, self.offset_bytes)),
            errno_of(lambda: self._write(0)),
            errno_of(lambda: os.fsync(self.fd)),
        ]

    def seen_in(self, blocks: list[bytes]) -> list[list[int]]:
        """For each slot the serial numbers found there."""
        first, length = self.offset_bytes // BLOCK_BYTES, WRITE_BYTES // BLOCK_BYTES
        starts = range(first, first + SLOTS * length, length)
        return [
            sorted({serial_in(one, self.options) for one in blocks[start : start + length]})
            for start in starts
        ]


def all_blocks(fd: int) -> list[bytes]:
    """What is on the LUN where host a writes."""
    read = (os.pread(fd, REGION_BYTES, n * REGION_BYTES) for n in range(len(OPTIONS)))
    data = b"".join(read)
    return [data[n : n + BLOCK_BYTES] for n in range(0, len(data), BLOCK_BYTES)]


def take_over(a_lun: Path, b_lun: Path) -> dict[str, Any]:
    """The story; see the module's docstring."""
    writers = [
        Writer(options, place * REGION_BYTES, openx(a_lun, os.O_RDWR | os.O_DIRECT, options))
        for place, options in enumerate(OPTIONS)
    ]
    threads = [Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    for writer in writers:
        writer.is_at_full_speed.wait()
    b = openx(b_lun, os.O_RDONLY | os.O_DIRECT, "forced")
    first = all_blocks(b)
    for thread in threads:
        thread.join()
    told: dict[str, Any] = {
        "writers": [
            {
                "errno": one.errno,
                "acknowledged": list(one.acknowledged),
                "attempted": list(one.attempted),
                "seen": one.seen_in(first),
            }
            for one in writers
        ]
    }
    dead = [[one.is_dead_with() for one in writers]]
    told["beside"] = errno_of(lambda: os.open(a_lun, os.O_RDONLY))
    time.sleep(LINGER_S)
    told["changed"] = sum(was != now for was, now in zip(first, all_blocks(b), strict=True))
    dead += [[one.is_dead_with() for one in writers]]
    os.close(b)
    while not is_settled(state_of(b_lun)):
        pass
    again = os.open(a_lun, os.O_RDWR | os.O_DIRECT)
    os.pwrite(again, stamped("again", 1), 0)
    told["again"] = serial_in(os.pread(again, BLOCK_BYTES, 0), "again")
    dead += [[one.is_dead_with() for one in writers]]
    return told | {"dead": dead}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(take_over(*map(Path, sys.argv[1:]))))
