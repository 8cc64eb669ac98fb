"""One block after the other, written and read, with the times of each: ``python -m tests.reliability.probe FILE``.

Says ``ready`` once writer and reader have done some, goes on until its standard input ends, and prints a JSON object.
For ``writer``, ``reader``, with ``--bad`` ``bad``, and with ``--open`` ``opener``, it has the list of their operations
``[began_s, took_s, error]`` (times of the monotonic clock; error a name or null); in ``wrong`` what the reader found
that is wrong; and for each slot of the writer the serial number last ``acknowledged``, and those ``attempted`` since,
which failed.
"""

import argparse
import errno
import itertools
import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.reliability.layout import (
    BAD_OFFSET_BYTES,
    BLOCK_BYTES,
    STANDING,
    WRITTEN,
    serial_in,
    stamp,
)

PAUSE_S = 0.01
RARE_PAUSE_S = 0.2
READY_AFTER = 20

Operation = tuple[float, float, str | None]


class Buffer:
    """A block's worth of memory that direct I/O accepts."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, BLOCK_BYTES)

    def write(self, fd: int, data: bytes, offset_bytes: int) -> None:
        self._memory[:] = data
        if os.pwritev(fd, [self._memory], offset_bytes) != BLOCK_BYTES:
            raise OSError(errno.ENODATA, "a short write")

    def read(self, fd: int, offset_bytes: int) -> bytes:
        if os.preadv(fd, [self._memory], offset_bytes) != BLOCK_BYTES:
            raise OSError(errno.ENODATA, "a short read")
        return bytes(self._memory)


class Probe:
    """The threads' work, and what they noted."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.is_over = threading.Event()
        self.operations: dict[str, list[Operation]] = {}
        self.attempted: list[list[int]] = [[] for _ in range(WRITTEN.slots)]
        self.acknowledged = [0] * WRITTEN.slots
        self.wrong: list[str] = []

    def fill(self) -> None:
        """Give both regions their first contents."""
        buffer = Buffer()
        for region in (WRITTEN, STANDING):
            for slot, offset_bytes in enumerate(region.offsets()):
                buffer.write(self._fd, stamp(region.name, slot, 0), offset_bytes)

    def write_on(self) -> None:
        buffer = Buffer()

        def one(turn: int) -> None:
            slot, serial = turn % WRITTEN.slots, turn + 1
            self.attempted[slot].append(serial)
            data = stamp(WRITTEN.name, slot, serial)
            buffer.write(self._fd, data, WRITTEN.offset_of(slot))
            self.acknowledged[slot], self.attempted[slot] = serial, []

        self._repeat("writer", one, PAUSE_S)

    def read_on(self) -> None:
        buffer = Buffer()

        def one(turn: int) -> None:
            slot = turn // 2 % STANDING.slots
            if turn % 2:
                self._check_standing(slot, buffer.read(self._fd, STANDING.offset_of(slot)))
                return
            least = self.acknowledged[slot]
            self._check_written(slot, buffer.read(self._fd, WRITTEN.offset_of(slot)), least)

        self._repeat("reader", one, PAUSE_S)

    def read_bad(self) -> None:
        buffer = Buffer()
        self._repeat("bad", lambda _: buffer.read(self._fd, BAD_OFFSET_BYTES), RARE_PAUSE_S)

    def open_on(self, file: str) -> None:
        self._repeat("opener", lambda _: os.close(os.open(file, os.O_RDONLY)), RARE_PAUSE_S)

    def _check_standing(self, slot: int, block: bytes) -> None:
        if block != stamp(STANDING.name, slot, 0):
            self.wrong.append(f"{STANDING.name} {slot}: {block[:40]!r}")

    def _check_written(self, slot: int, block: bytes, least: int) -> None:
        """What is read is the last write acknowledged when the read began, or a later one."""
        found = serial_in(block, WRITTEN.name, slot)
        if found is None or found < least:
            self.wrong.append(f"{WRITTEN.name} {slot}: {block[:40]!r} instead of {least} or later")

    def _repeat(self, name: str, do: Callable[[int], object], pause_s: float) -> None:
        noted = self.operations[name] = []
        for turn in itertools.count():
            if self.is_over.is_set():
                return
            began_s, error = time.monotonic(), None
            try:
                do(turn)
            except OSError as failure:
                error = errno.errorcode.get(failure.errno or 0, str(failure))
            noted.append((began_s, time.monotonic() - began_s, error))
            time.sleep(pause_s)

    def report(self) -> dict[str, Any]:
        return {
            **self.operations,
            "wrong": self.wrong,
            "attempted": self.attempted,
            "acknowledged": self.acknowledged,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument(
        "--bad", action="store_true", help="read the block with the bad sector, too"
    )
    parser.add_argument("--open", action="store_true", help="open and close the file, too")
    options = parser.parse_args()
    probe = Probe(os.open(options.file, os.O_RDWR | os.O_DIRECT))
    probe.fill()
    work: list[Callable[[], None]] = [probe.write_on, probe.read_on]
    if options.bad:
        work.append(probe.read_bad)
    if options.open:
        work.append(lambda: probe.open_on(options.file))
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    while min(len(probe.operations.get(name, ())) for name in ("writer", "reader")) < READY_AFTER:
        time.sleep(PAUSE_S)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    probe.is_over.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(probe.report()))


if __name__ == "__main__":
    main()
