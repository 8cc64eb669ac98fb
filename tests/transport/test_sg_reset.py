"""Resets through the sg transport, with an ioctl that ends when the test lets it."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from mpio_fuse.errors import TransportError, TransportGone
from mpio_fuse.scsi.block import synchronize_cache
from mpio_fuse.scsi.command import Completion
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.data_phase import DataPhase
from mpio_fuse.transport.sg.pass_through import THREADS
from mpio_fuse.transport.sg.transport import SgTransport
from mpio_fuse.transport.slots import Slots
from tests.transport.conformance import HANG_S, HeldResetConformance, none_stranded, out
from tests.transport.fake_driver import FakeNode, FakeReset


class ResetBench:
    """A node whose commands are GOOD at once, and whose resets may hang."""

    block_size_bytes = 512
    last_lba = 0xFFFF

    def __init__(self) -> None:
        self.node = FakeNode()
        self.node.driver.answers_at_once = True
        self.reset = FakeReset()
        self.transport = SgTransport(
            "/dev/sg9", self.node.node, self.node.driver, Slots(100), good, self.reset
        )

    @property
    def resets(self) -> int:
        return self.reset.sent

    @asynccontextmanager
    async def held_resets(self) -> AsyncIterator[None]:
        self.reset.may_end.clear()
        try:
            yield
        finally:
            self.reset.may_end.set()

    async def reopen(self) -> SgTransport:
        raise NotImplementedError


def good(fd: int, cdb: bytes, phase: DataPhase, timeout_s: float) -> Completion:
    del fd, cdb, phase, timeout_s
    return Completion()


@pytest.fixture
async def bench() -> AsyncIterator[ResetBench]:
    bench = ResetBench()
    yield bench
    await bench.transport.aclose()
    await none_stranded(bench.transport)
    bench.node.close()


class TestHeldReset(HeldResetConformance):
    """One thread of its own."""

    async def test_a_hung_reset_leaves_the_others_their_threads(self, bench: ResetBench) -> None:
        async with trio.open_nursery() as nursery, bench.held_resets():
            nursery.start_soon(bench.transport.reset_logical_unit)
            await out(bench, 1)
            for _ in range(2 * THREADS):
                with trio.fail_after(HANG_S):
                    assert (await bench.transport.execute(test_unit_ready())).is_good
            assert bench.transport.in_threads == 1

    async def test_closed_the_descriptor_stays_until_it_has_ended(self, bench: ResetBench) -> None:
        async with bench.held_resets():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.transport.reset_logical_unit)
                await out(bench, 1)
                nursery.cancel_scope.cancel()
            await bench.transport.aclose()
            assert not bench.node.is_control_closed
        with trio.fail_after(HANG_S):
            while not bench.node.is_control_closed:  # noqa: ASYNC110 (threads end unannounced)
                await trio.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EAGAIN, "error recovery of its SCSI host is under way; try again when that is over"),
        (errno.EBUSY, "error recovery of its SCSI host is under way; try again when that is over"),
        (errno.EACCES, "not allowed (CAP_SYS_ADMIN and CAP_SYS_RAWIO are needed); run as root"),
        (errno.EPERM, "not allowed (CAP_SYS_ADMIN and CAP_SYS_RAWIO are needed); run as root"),
        (
            errno.EIO,
            "or the session is down; try it over another underpath, and see the kernel's log",
        ),
        (errno.ENXIO, "No such device or address; see the kernel's log"),
        (errno.EINVAL, "Invalid argument; see the kernel's log"),
    ],
)
async def test_an_unconfirmed_reset_says_why(bench: ResetBench, number: int, words: str) -> None:
    bench.reset.errno = number
    with pytest.raises(TransportError) as raised:
        await bench.transport.reset_logical_unit()
    text = str(raised.value)
    assert text.startswith("/dev/sg9: the reset of the logical unit was not confirmed: ")
    assert text.endswith(words)
    assert not isinstance(raised.value, TransportGone)
    assert (await bench.transport.execute(synchronize_cache())).is_good


async def test_deleted_it_is_gone_for_all(bench: ResetBench) -> None:
    bench.reset.errno = errno.ENODEV
    with pytest.raises(TransportGone, match="deleted"):
        await bench.transport.reset_logical_unit()
    with pytest.raises(TransportGone, match="deleted"):
        await bench.transport.execute(synchronize_cache())
    with pytest.raises(TransportGone, match="deleted"):
        await bench.transport.reset_logical_unit()
    assert bench.resets == 1
