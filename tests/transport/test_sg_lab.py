"""The sg transport passes the conformance suite on real nodes of a real kernel."""

from collections.abc import AsyncIterator

import pytest

from tests.transport.conformance import (
    MediumErrorConformance,
    OfflineConformance,
    SlowConformance,
    TransportConformance,
    UnitAttentionConformance,
    VanishConformance,
)
from tests.transport.sg_bench import LioLoopBench, ScsiDebugBench, lab_address


@pytest.mark.in_guest
@pytest.mark.fabric(kind="loop", hosts=1, underpaths=1)
class TestSgOnLio(
    TransportConformance, OfflineConformance, VanishConformance, UnitAttentionConformance
):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[LioLoopBench]:
        bench = LioLoopBench(lab_address())
        await bench.set_up()
        yield bench
        await bench.tear_down()


@pytest.mark.in_guest
@pytest.mark.fabric(kind="scsi_debug", hosts=1, underpaths=1)
class TestSgOnScsiDebug(
    TransportConformance,
    SlowConformance,
    OfflineConformance,
    VanishConformance,
    MediumErrorConformance,
    UnitAttentionConformance,
):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[ScsiDebugBench]:
        bench = ScsiDebugBench(lab_address())
        await bench.set_up()
        yield bench
        await bench.tear_down()
