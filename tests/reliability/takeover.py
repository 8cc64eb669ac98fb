"""Two hosts take one disk from each other, again and again, and write all the time; nothing lands late.

Theory of operation
-------------------
An *epoch* begins when a host's forced open returns and lasts until the other host's does.  In it the owner writes
through several handles, each opened with options of its own: every set of options has an inode of its own, and the
kernel lets one direct write into an inode at a time.  So several writes are in flight when the other host strikes.

The slots on the disk are in two halves.  Odd epochs write into one half, even ones into the other; so what the old
owner has written last is not overwritten by the new one, and anything of it that lands late is seen.  As soon as the
forced open has returned the new owner reads the old one's half, and reads it again at the end of its epoch: it must not
have changed.  What was acknowledged to the old owner must be in it, and the new owner's half must hold what that wrote
there last.

A stamp tells epoch, slot and serial number.
"""

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from mpio_fuse import openx

BLOCK_BYTES = 4096
BLOCKS_PER_WRITE = 16
WRITE_BYTES = BLOCKS_PER_WRITE * BLOCK_BYTES
SLOTS_PER_HANDLE = 4
OPTIONS = ("forced", "default", "no-reserve")
"""Of an epoch's handles; the first is the takeover."""
HALF_SLOTS = len(OPTIONS) * SLOTS_PER_HANDLE
HALF_BYTES = HALF_SLOTS * WRITE_BYTES
JOIN_LIMIT_S = 120.0


@attrs.frozen
class Taken:
    """One takeover.

    ``took_s``: the forced open.  ``late``: blocks of the old owner that came after it had returned.  ``lost``: blocks
    that had been acknowledged to the old owner and were not there.  ``strange``: blocks of the new owner's half that
    are not its own.  ``ends``: how each of the old owner's handles ended, an errno's name.  ``writes``: how many of the
    new owner's were acknowledged until it was looked at.
    """

    epoch: int
    took_s: float
    late: int
    lost: int
    strange: int
    ends: list[str]
    writes: int


def stamped(epoch: int, slot: int, serial: int) -> bytes:
    """The data of one write, which every block of it tells."""
    block = f"epoch {epoch:06d} slot {slot:03d} write {serial:09d} ".encode()
    return block.ljust(BLOCK_BYTES, b".") * BLOCKS_PER_WRITE


def serial_in(block: bytes, epoch: int, slot: int) -> int:
    """Which write of that epoch to that slot a block is from; -1: it is from none."""
    found = re.match(rb"epoch (\d{6}) slot (\d{3}) write (\d{9}) \.", block)
    if found is None or (int(found[1]), int(found[2])) != (epoch, slot):
        return -1
    return int(found[3])


class Writer(threading.Thread):
    """Writes through one handle into its slots until that fails; closes it."""

    def __init__(self, fd: int, epoch: int, slots: range) -> None:
        super().__init__()
        self._fd = fd
        self._epoch = epoch
        self._slots = slots
        self.acknowledged: dict[int, int] = {}
        """For each slot the serial number of the last write."""
        self.writes = 0
        self.end = ""
        self.has_been_round = threading.Event()

    def run(self) -> None:
        try:
            while True:
                self._write()
        except OSError as error:
            self.end = errno.errorcode.get(error.errno or 0, str(error))
        finally:
            self.has_been_round.set()
            _close(self._fd)

    def _write(self) -> None:
        slot = self._slots[self.writes % len(self._slots)]
        data = stamped(self._epoch, slot, self.writes)
        offset_bytes = self._epoch % 2 * HALF_BYTES + slot * WRITE_BYTES
        if os.pwrite(self._fd, data, offset_bytes) != len(data):
            raise OSError(errno.ENODATA, "a short write")
        self.acknowledged[slot] = self.writes
        self.writes += 1
        if self.writes == len(self._slots):
            self.has_been_round.set()


@attrs.frozen
class Epoch:
    """One host's time as the owner, its writers running."""

    number: int
    fd: int
    """For looking; a duplicate of the takeover's handle."""
    took_s: float
    writers: list[Writer]
    found: bytes
    """The old owner's half as it was when the forced open had returned."""

    @classmethod
    def begin(cls, number: int, file: Path) -> "Epoch":
        """Take the disk, and start to write."""
        began_s = time.monotonic()
        taken = openx(file, os.O_RDWR | os.O_DIRECT, OPTIONS[0])
        took_s = time.monotonic() - began_s
        fd = os.dup(taken)
        found = _half(fd, number - 1)
        others = [openx(file, os.O_RDWR | os.O_DIRECT, options) for options in OPTIONS[1:]]
        writers = [
            Writer(handle, number, range(place * SLOTS_PER_HANDLE, (place + 1) * SLOTS_PER_HANDLE))
            for place, handle in enumerate([taken, *others])
        ]
        for writer in writers:
            writer.start()
        return cls(number, fd, took_s, writers, found)

    def look(self, old: "Epoch") -> Taken:
        """Compare what is on the disk now with what may be there."""
        now = _half(self.fd, old.number)
        late = sum(was != is_ for was, is_ in zip(_blocks(self.found), _blocks(now), strict=True))
        # Before the disk is read: what is acknowledged meanwhile need not have been there.
        least = self.acknowledged()
        return Taken(
            epoch=self.number,
            took_s=round(self.took_s, 3),
            late=late,
            lost=_older(self.found, old.number, old.acknowledged()),
            strange=_older(_half(self.fd, self.number), self.number, least),
            ends=[writer.end for writer in old.writers],
            writes=sum(writer.writes for writer in self.writers),
        )

    def acknowledged(self) -> dict[int, int]:
        """For each slot that was written in this epoch the serial number of the last write acknowledged."""
        return {slot: n for writer in self.writers for slot, n in dict(writer.acknowledged).items()}

    def join(self) -> None:
        """The other host has taken the disk: wait until every write of this one has failed."""
        for writer in self.writers:
            writer.join(JOIN_LIMIT_S)
            if writer.is_alive():
                raise TimeoutError(f"a write of epoch {self.number} does not end")
        _close(self.fd)


def play(files: Sequence[Path], times: int, hold_s: float) -> Iterator[Taken]:
    """Take the disk ``times`` times, by the hosts in turn, each for ``hold_s`` at least."""
    owner = Epoch.begin(1, files[1])
    for number in range(2, times + 2):
        _wait_until_busy(owner)
        new = Epoch.begin(number, files[number % 2])
        _wait_until_busy(new)
        owner.join()
        time.sleep(hold_s)
        yield new.look(owner)
        owner = new
    _stop(owner, files)


def _wait_until_busy(epoch: Epoch) -> None:
    for writer in epoch.writers:
        writer.has_been_round.wait(JOIN_LIMIT_S)


def _stop(owner: Epoch, files: Sequence[Path]) -> None:
    """End the last epoch as any other: by a forced open of the other host."""
    os.close(openx(files[(owner.number + 1) % 2], os.O_RDONLY | os.O_DIRECT, "forced"))
    owner.join()


def _older(half: bytes, epoch: int, least: Mapping[int, int]) -> int:
    """How many blocks are neither from the write that ``least`` names for their slot nor from a later one."""
    blocks = list(_blocks(half))
    return sum(
        serial_in(block, epoch, slot) < serial
        for slot, serial in least.items()
        for block in blocks[slot * BLOCKS_PER_WRITE : (slot + 1) * BLOCKS_PER_WRITE]
    )


def _close(fd: int) -> None:
    with contextlib.suppress(
        OSError
    ):  # close(2) tells of the fence, as fsync does, and has closed it
        os.close(fd)


def _half(fd: int, epoch: int) -> bytes:
    return os.pread(fd, HALF_BYTES, epoch % 2 * HALF_BYTES)


def _blocks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
