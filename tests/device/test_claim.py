"""The claim's own part; tests/lab/test_claim.py has the kernel's."""

import os
import threading
from collections.abc import Callable

import pytest
import trio

from mpio_fuse.device import claim as claiming
from mpio_fuse.device.claim import Claim
from mpio_fuse.device.users import HostRoots

Open = Callable[[str, HostRoots], int]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_cancelled_while_the_disk_is_being_opened(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What the thread opens is closed, whether it comes back before the cancelled caller has gone or after."""
    reading, writing = os.pipe()
    token = trio.lowlevel.current_trio_token()
    opening, may_open = trio.Event(), threading.Event()

    def open_slowly(_disk: str, _roots: HostRoots) -> int:
        token.run_sync_soon(opening.set)
        may_open.wait()
        return writing

    monkeypatch.setattr(claiming, "_open_exclusively", open_slowly)
    with Claim("naa.x") as claim:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim.add, "sda")
            await opening.wait()
            if when == "before":
                may_open.set()
            nursery.cancel_scope.cancel()
        assert when == "before" or claim.block_devices == ()
    may_open.set()
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(reading)
    assert os.read(reading, 1) == b""
    os.close(reading)
