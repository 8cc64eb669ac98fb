"""A program that never stops writing: counts into one block of a file, until a write fails.

``python3 ticker.py FILE`` prints "ticking", and after the first failure "N ticks were written" with the errors of that
write and of two more.  It never closes the file: it hangs until it is killed.
"""

import os
import signal
import sys
import time
from itertools import count

OFFSET_BYTES = 100 << 20
BLOCK_BYTES = 4096
PAUSE_S = 0.02
MORE_TRIES = 2
HANGING = "hanging, with the file open"


def write_tick(fd: int, number: int) -> None:
    """Write the block, on the medium before this returns (the file is open with O_DSYNC)."""
    os.pwrite(fd, f"tick {number}\n".encode().ljust(BLOCK_BYTES), OFFSET_BYTES)


def tick_until_error(fd: int) -> int:
    """Give the number of the tick that failed, after printing its error."""
    for number in count(1):
        try:
            write_tick(fd, number)
        except OSError as error:
            print(f"{number - 1} ticks were written", flush=True)  # noqa: T201
            print(f"tick {number}: {error}", flush=True)  # noqa: T201
            return number
        if number == 1:
            print("ticking", flush=True)  # noqa: T201
        time.sleep(PAUSE_S)
    raise AssertionError("count() ended")


def main() -> None:
    """Tick, and keep trying a little after the first failure."""
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_DSYNC)
    failed = tick_until_error(fd)
    for number in range(failed + 1, failed + 1 + MORE_TRIES):
        try:
            write_tick(fd, number)
        except OSError as error:
            print(f"tick {number}: {error}", flush=True)  # noqa: T201
        else:
            print(f"tick {number} was written", flush=True)  # noqa: T201
    print(HANGING, flush=True)  # noqa: T201
    signal.pause()


if __name__ == "__main__":
    main()
