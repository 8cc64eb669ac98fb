"""The iscsi transport passes the conformance suite against a real target, tgtd, over loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from mpio_fuse.scsi.command import HostStatus
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.iscsi import IscsiSettings, IscsiTransport, open_iscsi
from tests.transport.by_starting import by_starting
from tests.transport.conformance import (
    HANG_S,
    HeldResetConformance,
    OfflineConformance,
    ResetConformance,
    SlowConformance,
    SlowResetConformance,
    StartingConformance,
    TransportConformance,
    UnitAttentionConformance,
    none_stranded,
)
from tests.transport.iscsi_relay import (
    TASK_MANAGEMENT_RESPONSE,
    Relay,
    open_relay,
)
from tests.transport.tgtd import DISK_BYTES, TARGET, Tgtd

BLOCK = 512
SLOW_S = 0.3

NAME = "iqn.2026-01.test:host-a"
SETTINGS = IscsiSettings(initiator_name=NAME, login_timeout_s=20.0, link_timeout_s=20.0)
"""A machine that is busy with other things must not look like a broken link."""


async def ready(transport: IscsiTransport) -> None:
    """Wait until the transport carries commands, with nothing to tell any more."""
    with trio.fail_after(HANG_S):
        while not (await transport.execute(test_unit_ready())).is_good:  # noqa: ASYNC110 (no event for it)
            await trio.sleep(0.01)


class IscsiBench:
    """One session to tgtd through a relay."""

    def __init__(self, relay: Relay, transport: IscsiTransport) -> None:
        self.relay = relay
        self.transport = transport
        self.block_size_bytes = BLOCK
        self.last_lba = DISK_BYTES // BLOCK - 1

    async def reopen(self) -> IscsiTransport:
        transport = await open_iscsi(self.transport.name, SETTINGS)
        await ready(transport)
        return transport

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self.relay.to_initiator.delay_s = SLOW_S
        yield
        self.relay.to_initiator.delay_s = 0

    @property
    def resets(self) -> int:
        return self.relay.resets

    @asynccontextmanager
    async def held_resets(self) -> AsyncIterator[None]:
        self.relay.to_initiator.hold(TASK_MANAGEMENT_RESPONSE)
        yield
        self.relay.to_initiator.release()

    async def set_offline(self) -> None:
        self.relay.cut()
        with trio.fail_after(HANG_S):
            while True:
                completion = await self.transport.execute(test_unit_ready())
                if completion.host_status == HostStatus.NO_CONNECT:
                    return
                await trio.lowlevel.checkpoint()

    async def set_running(self) -> None:
        self.relay.mend()
        await ready(self.transport)

    async def establish_unit_attention(self) -> None:
        other = await open_iscsi(self.transport.name, SETTINGS)
        await other.reset_logical_unit()
        await other.aclose()


@asynccontextmanager
async def open_bench(tgtd: Tgtd) -> AsyncIterator[IscsiBench]:
    """A bench that leaves nothing behind."""
    async with open_relay(tgtd.port) as relay:
        transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/1", SETTINGS)
        await ready(transport)
        yield IscsiBench(relay, transport)
        await transport.aclose()
        await none_stranded(transport)


class TestIscsiOnTgtd(
    TransportConformance,
    SlowConformance,
    OfflineConformance,
    ResetConformance,
    SlowResetConformance,
    HeldResetConformance,
    UnitAttentionConformance,
    StartingConformance,
):
    @pytest.fixture
    async def bench(self, tgtd: Tgtd) -> AsyncIterator[IscsiBench]:
        async with open_bench(tgtd) as bench:
            yield bench


class TestByStarting(
    TransportConformance, SlowConformance, OfflineConformance, UnitAttentionConformance
):
    """Every command is started."""

    @pytest.fixture
    async def bench(self, tgtd: Tgtd) -> AsyncIterator[IscsiBench]:
        async with open_bench(tgtd) as bench:
            yield await by_starting(bench)
