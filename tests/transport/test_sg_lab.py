"""The sg transport passes the conformance suite on real nodes of a real kernel."""

import sys
from collections.abc import AsyncIterator

import pytest
import trio

from mpio_fuse.scsi.block import read, synchronize_cache
from mpio_fuse.scsi.command import HostStatus, Status
from mpio_fuse.scsi.inquiry import inquiry
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.sg.pass_through import THREADS
from tests.transport.by_starting import by_starting
from tests.transport.conformance import (
    HANG_S,
    MediumErrorConformance,
    OfflineConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    StartingConformance,
    TransportConformance,
    UnitAttentionConformance,
    VanishConformance,
    none_stranded,
)
from tests.transport.sg_bench import LioLoopBench, ScsiDebugBench, lab_address

IMPORTS = """
import os, sys, trio
from mpio_fuse.scsi.block import synchronize_cache
from mpio_fuse.transport.sg import open_sg
"""
FORK = """
from mpio_fuse.transport.sg.native import SgQueue
from mpio_fuse.transport.sg.node import open_node
from mpio_fuse.transport.slots import Slots
from mpio_fuse.transport.sg.transport import SgTransport

async def use(node):
    transport = SgTransport(sys.argv[1], node, SgQueue(node.queue_fd), Slots(16))
    await transport.execute(synchronize_cache())

node = open_node(sys.argv[1])
if os.fork():
    os.wait()
else:
    trio.run(use, node)
"""

RESET_AS_NOBODY = """
async def reset():
    transport = await open_sg(sys.argv[1])
    os.setuid(65534)
    await transport.reset_logical_unit()

trio.run(reset)
"""


async def stderr_of(program: str, bench: LioLoopBench) -> str:
    """The last words of a Python of its own that runs ``program`` with the bench's node as its argument."""
    words = [sys.executable, "-c", IMPORTS + program, bench.transport.name]
    done = await trio.run_process(words, capture_stderr=True, check=False)
    return done.stderr.decode().strip()


@pytest.mark.in_guest
@pytest.mark.fabric(kind="loop", hosts=1, underpaths=1)
class TestSgOnLio(
    TransportConformance,
    ResetConformance,
    OfflineConformance,
    VanishConformance,
    UnitAttentionConformance,
):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[LioLoopBench]:
        bench = LioLoopBench(lab_address())
        await bench.set_up()
        yield bench
        await bench.tear_down()

    async def test_a_cut_is_a_completion_of_the_host(self, bench: LioLoopBench) -> None:
        async with bench.cut():
            for command in (synchronize_cache(), inquiry()):
                completion = await bench.transport.execute(command)
                assert completion.host_status == HostStatus.TRANSPORT_DISRUPTED
                assert completion.status == Status.GOOD, "status alone says nothing"
        assert not (await bench.transport.execute(test_unit_ready())).is_good, "it was reset"
        assert (await bench.transport.execute(synchronize_cache())).is_good

    async def test_no_permission_to_open_a_node(self, bench: LioLoopBench) -> None:
        error = await stderr_of("os.setuid(65534); trio.run(open_sg, sys.argv[1])", bench)
        assert error.endswith(
            f"TransportError: {bench.transport.name}: no permission to open it; "
            "run as root or as a member of the node's group"
        )

    async def test_no_permission_to_reset(self, bench: LioLoopBench) -> None:
        """The kernel asks the process, not the open file."""
        error = await stderr_of(RESET_AS_NOBODY, bench)
        assert error.endswith(
            f"TransportError: {bench.transport.name}: the reset of the logical unit was not confirmed: "
            "not allowed (CAP_SYS_ADMIN and CAP_SYS_RAWIO are needed); run as root"
        )
        assert (await bench.transport.execute(test_unit_ready())).is_good, "it was not reset"

    async def test_a_node_opened_before_a_fork(self, bench: LioLoopBench) -> None:
        """The driver compares credentials by address, and a child has a copy of its own."""
        error = await stderr_of(FORK, bench)
        assert "TransportError: " in error
        assert error.endswith("after fork, and after changing user")


@pytest.mark.in_guest
@pytest.mark.fabric(kind="scsi_debug", hosts=1, underpaths=1)
class TestSgOnScsiDebug(
    TransportConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    OfflineConformance,
    VanishConformance,
    MediumErrorConformance,
    UnitAttentionConformance,
    StartingConformance,
):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[ScsiDebugBench]:
        bench = ScsiDebugBench(lab_address())
        await bench.set_up()
        yield bench
        await bench.tear_down()

    async def test_a_timeout_is_a_completion_of_the_host(self, bench: ScsiDebugBench) -> None:
        async with bench.swallowing():
            command = read(0, bytearray(512), 512, timeout_s=0.2)
            completion = await bench.transport.execute(command)
        assert completion.host_status == HostStatus.TIME_OUT
        assert bench.transport.stranded == 0
        assert (await bench.transport.execute(synchronize_cache())).is_good

    async def test_a_cancelled_check_is_stranded_until_it_ends(self, bench: ScsiDebugBench) -> None:
        async with bench.swallowing():
            async with trio.open_nursery() as nursery:
                for _ in range(THREADS):
                    nursery.start_soon(bench.transport.execute, test_unit_ready(timeout_s=1.0))
                with trio.fail_after(HANG_S):
                    while bench.transport.in_threads < THREADS:  # noqa: ASYNC110 (threads start unannounced)
                        await trio.sleep(0.005)
                nursery.cancel_scope.cancel()
            assert bench.transport.stranded == THREADS
            await none_stranded(bench.transport)
        assert (await bench.transport.execute(inquiry())).is_good


@pytest.mark.in_guest
@pytest.mark.fabric(kind="scsi_debug", hosts=1, underpaths=1)
class TestByStarting(
    TransportConformance,
    SlowConformance,
    OfflineConformance,
    VanishConformance,
    MediumErrorConformance,
    UnitAttentionConformance,
):
    """Every data command is started."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[ScsiDebugBench]:
        bench = ScsiDebugBench(lab_address())
        await bench.set_up()
        yield await by_starting(bench)
        await bench.tear_down()
