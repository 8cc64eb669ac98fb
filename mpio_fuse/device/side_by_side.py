"""The same thing over several underpaths at once, without waiting for the slowest one."""

import math
from collections.abc import Awaitable, Callable, Iterable

import trio

from mpio_fuse.device.underpath import Underpath

GRACE_S = 2.0
"""How much longer the others have once one has succeeded: I/O waits meanwhile, and the checker brings them back."""


async def side_by_side(
    underpaths: Iterable[Underpath],
    do: Callable[[Underpath], Awaitable[bool]],
    *,
    is_serial: bool = False,
) -> list[Underpath]:
    """Those over which it succeeded in time; the rest are cancelled.

    ``is_serial``: one after the other, each with all its time, for arrays that stall when asked by several at once.
    """
    succeeded: list[Underpath] = []
    with trio.CancelScope() as scope:

        async def run(underpath: Underpath) -> None:
            if await do(underpath):
                succeeded.append(underpath)
                if not is_serial and scope.deadline == math.inf:
                    scope.deadline = trio.current_time() + GRACE_S

        async with trio.open_nursery() as nursery:
            for underpath in underpaths:
                if is_serial:
                    await run(underpath)
                else:
                    nursery.start_soon(run, underpath)
    return succeeded
