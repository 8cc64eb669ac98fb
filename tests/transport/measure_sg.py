"""How fast the sg transport is: ``scripts/lab run --fabric loop -- 'python -m tests.transport.measure_sg $A_NODES'``.

Reads the first megabytes of each node given, and prints commands and bytes a second.
"""

import itertools
import sys
import time

import trio

from mpio_fuse.scsi.block import read
from mpio_fuse.transport.sg import SgTransport, open_sg

BLOCK_BYTES = 512
SPAN_BYTES = 16 << 20
CASES = (
    (1, 4096, 4000),
    (16, 4096, 30000),
    (1, 1 << 20, 1000),
    (2, 1 << 20, 2000),
    (16, 1 << 20, 2000),
)


async def read_all(transport: SgTransport, depth: int, length_bytes: int, count: int) -> float:
    """Seconds that ``count`` reads take, ``depth`` at a time."""
    numbers = itertools.count()

    async def reader() -> None:
        buffer = bytearray(length_bytes)
        while (number := next(numbers)) < count:
            lba = number * length_bytes % SPAN_BYTES // BLOCK_BYTES
            completion = await transport.execute(read(lba, buffer, BLOCK_BYTES))
            if not completion.is_good:
                raise RuntimeError(f"{transport.name}: {completion}")

    begin_s = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(depth):
            nursery.start_soon(reader)
    return time.perf_counter() - begin_s


async def measure(device_node: str) -> None:
    """Print one line for each case."""
    transport = await open_sg(device_node)
    for depth, length_bytes, count in CASES:
        await read_all(transport, depth, length_bytes, min(count, 100))
        took_s = await read_all(transport, depth, length_bytes, count)
        rate, megabytes = count / took_s, count * length_bytes / took_s / 1e6
        what = f"{device_node} depth {depth:2} x {length_bytes:7} bytes"
        sys.stdout.write(f"{what}: {rate:8.0f}/s {megabytes:8.1f} MB/s\n")
    await transport.aclose()


if __name__ == "__main__":
    for node in sys.argv[1:]:
        trio.run(measure, node)
