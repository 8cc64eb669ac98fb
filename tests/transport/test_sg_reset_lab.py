"""A reset over a real initiator: LIO and tgt with commands that their backing store holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from mpio_fuse.errors import TransportError
from mpio_fuse.scsi import pr_in, pr_out
from mpio_fuse.scsi.block import write
from mpio_fuse.scsi.command import Command, Completion, HostStatus, Status, received
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.reserve6 import reserve6
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.sg import SgTransport, open_sg
from tests.lab.fabric import FabricKind, FabricReport
from tests.transport.conformance import HANG_S, none_stranded
from tests.transport.held_disk import held_disk, hold, let_go

KEY_A = ReservationKey.from_int(0xA1)
KEY_B = ReservationKey.from_int(0xB1)
TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
SIZE = 512
COMMAND_S = 60.0


@attrs.frozen
class Hosts:
    """Host a and host b on the disk that can be held, and host b, by the same session, on another."""

    kind: FabricKind
    a: SgTransport
    b: SgTransport
    neighbour: SgTransport


@pytest.fixture
async def hosts(lab_fabric: FabricReport) -> AsyncIterator[Hosts]:
    with held_disk(lab_fabric.fabric) as nodes:
        opened = [
            await open_sg(node)
            for node in (nodes["a", 0], nodes["b", 0], lab_fabric.select("b", 1)[0].sg)
        ]
        for transport in opened:
            await attentions(transport)
        yield Hosts(lab_fabric.fabric.kind, *opened)
        for transport in opened:
            await transport.aclose()


async def attentions(transport: SgTransport) -> list[tuple[int, int]]:
    """The unit attentions that wait, which this takes away."""
    said = []
    while not (completion := await transport.execute(test_unit_ready())).is_good:
        said.append((completion.sense[12], completion.sense[13]))
    return said


async def good(transport: SgTransport, *commands: Command) -> None:
    for command in commands:
        completion = await transport.execute(command)
        assert completion.is_good, (command, completion)


def a_write(lba: int) -> Command:
    return write(lba, bytes(SIZE), SIZE, timeout_s=COMMAND_S)


@asynccontextmanager
async def held_writes(hosts: Hosts) -> AsyncIterator[dict[str, Completion]]:
    """While entered, a write of each host is in the target; on leaving they can end, and do: how, by host."""
    ends: dict[str, Completion] = {}

    async def one(name: str, transport: SgTransport, lba: int) -> None:
        ends[name] = await transport.execute(a_write(lba))

    await trio.to_thread.run_sync(hold)
    with trio.fail_after(2 * HANG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a", hosts.a, 0)
            nursery.start_soon(one, "b", hosts.b, 8)
            try:
                await in_target(hosts.a)
                yield ends
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(let_go)


async def in_target(transport: SgTransport) -> None:
    """What was sent before has arrived: iSCSI keeps the order in which commands go out."""
    await transport.execute(test_unit_ready())


async def in_kernel(transport: SgTransport) -> None:
    """Wait until a thread is in the ioctl, which it leaves only with the target's answer."""
    with trio.fail_after(HANG_S):
        while not transport.in_threads:  # noqa: ASYNC110 (threads start unannounced)
            await trio.sleep(0.005)


async def reservation(transport: SgTransport) -> tuple[tuple[ReservationKey, ...], object]:
    keys, holder = pr_in.read_keys(), pr_in.read_reservation()
    registered = pr_in.decode_keys(received(keys, await transport.execute(keys))).keys
    held = pr_in.decode_reservation(received(holder, await transport.execute(holder)))
    return registered, held.holder


class ResetOverIscsi:
    async def test_idle_it_is_told_to_all(self, hosts: Hosts) -> None:
        await hosts.b.reset_logical_unit()
        code = (0x29, 0x00) if hosts.kind is FabricKind.TGT else (0x29, 0x03)
        for transport in (hosts.a, hosts.b):
            assert await attentions(transport) == [code]
        assert await attentions(hosts.neighbour) == [], "no other logical unit was reset"

    async def test_registrations_and_the_reservation_stay(self, hosts: Hosts) -> None:
        await good(hosts.b, pr_out.register_and_ignore_existing_key(KEY_B))
        await good(
            hosts.a, pr_out.register_and_ignore_existing_key(KEY_A), pr_out.reserve(KEY_A, TYPE)
        )
        await hosts.b.reset_logical_unit()
        for transport in (hosts.a, hosts.b):
            await attentions(transport)
        registered, holder = await reservation(hosts.b)
        assert (set(registered), holder) == ({KEY_A, KEY_B}, KEY_A)

    async def test_a_scsi_2_reservation_goes(self, hosts: Hosts) -> None:
        await good(hosts.a, reserve6())
        assert (await hosts.b.execute(a_write(0))).status == Status.RESERVATION_CONFLICT
        await hosts.b.reset_logical_unit()
        await attentions(hosts.b)
        await good(hosts.b, a_write(0))

    async def test_it_is_confirmed_only_when_nothing_is_in_flight(self, hosts: Hosts) -> None:
        """The barrier: of the other host's commands and of one's own."""
        confirmed = trio.Event()

        async def reset() -> None:
            await hosts.b.reset_logical_unit()
            confirmed.set()

        async with trio.open_nursery() as nursery:
            async with held_writes(hosts) as ends:
                nursery.start_soon(reset)
                await in_kernel(hosts.b)
                await in_target(hosts.a)
                assert not confirmed.is_set()
                assert ends == {}
            told = {name: (end.host_status, end.status) for name, end in ends.items()}
        aborted = {"a": (HostStatus.OK, Status.TASK_ABORTED), "b": (HostStatus.ERROR, Status.GOOD)}
        done = dict.fromkeys(aborted, (HostStatus.OK, Status.GOOD))
        assert told == (done if hosts.kind is FabricKind.TGT else aborted)

    async def test_cancelled_it_is_stranded_until_the_target_confirms(self, hosts: Hosts) -> None:
        async with held_writes(hosts):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hosts.b.reset_logical_unit)
                await in_kernel(hosts.b)
                nursery.cancel_scope.cancel()
            assert hosts.b.stranded == 1
        await none_stranded(hosts.b)
        assert await attentions(hosts.a)

    async def test_meanwhile_the_session_takes_no_other_reset(self, hosts: Hosts) -> None:
        async with trio.open_nursery() as nursery, held_writes(hosts):
            nursery.start_soon(hosts.b.reset_logical_unit)
            await in_kernel(hosts.b)
            await in_target(hosts.a)
            recovery = "error recovery of its SCSI host is under way"
            with pytest.raises(TransportError, match=recovery):
                await hosts.neighbour.reset_logical_unit()


@pytest.mark.in_guest
@pytest.mark.fabric(kind="iscsi", hosts=2, underpaths=1)
class TestResetOfLio(ResetOverIscsi):
    """It confirms when the commands it aborts are done; they have landed."""


@pytest.mark.in_guest
@pytest.mark.fabric(kind="tgt", hosts=2, underpaths=1)
class TestResetOfTgt(ResetOverIscsi):
    """It confirms when all commands have ended as they would have."""
