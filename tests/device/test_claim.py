"""The claim's own part; tests/lab/test_claim.py has the kernel's."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from mpio_fuse.device import claim as claiming
from mpio_fuse.device.claim import Claim, in_use, in_use_beside_daemons
from mpio_fuse.device.users import HostRoots
from tests.device.trees import Trees

BUSY = OSError(errno.EBUSY, "busy")
DAEMON = ["python", "-m", "mpio_fuse.cli.main", "mount", "/mnt/a"]
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


@pytest.fixture
def claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trees:
    """A disk sda of which the kernel refuses the claim."""

    def refuse(_disk: str, _roots: HostRoots) -> int:
        raise BUSY

    monkeypatch.setattr(claiming, "_open_exclusively", refuse)
    trees = Trees(tmp_path)
    trees.disk("sda")
    return trees


async def test_a_daemon_is_told_with_its_mountpoint(claimed: Trees) -> None:
    claimed.opener(76, "blkid", "sda", ["blkid"])
    claimed.opener(77, "python", "sda", DAEMON)
    assert await in_use("sda", claimed.roots) == "served by mpio-fuse (pid 77)"
    told = await in_use("sda", claimed.roots, {77: "/mnt/a"}.get)
    assert told == "served by mpio-fuse at /mnt/a (pid 77)"


async def test_beside_daemons_a_daemon_s_claim_is_no_use(claimed: Trees) -> None:
    claimed.opener(77, "python", "sda", DAEMON)
    assert await in_use_beside_daemons("sda", claimed.roots) is None


async def test_beside_daemons_a_mount_is_use(claimed: Trees) -> None:
    """Although the daemon has it open, too."""
    claimed.opener(77, "python", "sda", DAEMON)
    claimed.file("proc/self/mountinfo", "30 1 8:0 / /srv rw - ext4 /dev/sda rw")
    assert await in_use_beside_daemons("sda", claimed.roots) == "mounted on /srv"


async def test_beside_daemons_another_program_s_claim_is_use(claimed: Trees) -> None:
    said = "claimed exclusively by a user that does not show"
    assert await in_use_beside_daemons("sda", claimed.roots) == said
    claimed.opener(77, "qemu", "sda", ["qemu"])
    said = "claimed exclusively, and open in qemu (pid 77)"
    assert await in_use_beside_daemons("sda", claimed.roots) == said
