"""Sessions of the iscsi transport with tgtd: who logs in, what a lost one leaves, what takes too long."""

from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio
import trio.testing

from mpio_fuse.errors import MpioError, TransportError, UsageError
from mpio_fuse.scsi.block import read, synchronize_cache
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.iscsi import (
    Credentials,
    IscsiSettings,
    IscsiTransport,
    Target,
    discover_targets,
    find_units,
    open_iscsi,
)
from tests.transport.conformance import HANG_S
from tests.transport.iscsi_hostile import HostileTarget, hostile_target, log_in
from tests.transport.iscsi_relay import TASK_MANAGEMENT_RESPONSE, Relay, open_relay
from tests.transport.tgtd import HOST, TARGET, Tgtd, running_tgtd

SETTINGS = IscsiSettings(
    initiator_name="iqn.2026-01.test:host-b", login_timeout_s=HANG_S, link_timeout_s=HANG_S
)
CHAP_TARGET = "iqn.2026-01.test:chap"
USER = Credentials("bob", "hunter2hunter2")
MUTUAL = Credentials("bob", "hunter2hunter2", "disks", "other2other2")
SCSI_RESPONSE = 0x21


@pytest.fixture(scope="module")
def chap(tgtd: Tgtd) -> Iterator[str]:
    """The URL of a disk whose target wants, and gives, a proof."""
    tgtd.add_target(2, CHAP_TARGET)
    tgtd.add_disk(1, tid=2)
    for user, password in (
        (USER.user, USER.password),
        (MUTUAL.target_user, MUTUAL.target_password),
    ):
        tgtd.admin("account", "new", "--user", user, "--password", password)
    tgtd.admin("account", "bind", "--tid", "2", "--user", USER.user)
    tgtd.admin("account", "bind", "--tid", "2", "--user", MUTUAL.target_user, "--outgoing")
    yield tgtd.url(target=CHAP_TARGET)
    tgtd.admin("target", "delete", "--tid", "2", "--force")


async def is_ready(transport: IscsiTransport) -> bool:
    """Whether it carries commands, its unit attentions taken."""
    with trio.fail_after(HANG_S):
        for _ in range(3):
            if (await transport.execute(test_unit_ready())).is_good:
                return True
    return False


async def lost(transport: IscsiTransport, logins: int) -> None:
    """Wait for the session after so many."""
    with trio.fail_after(HANG_S):
        while transport.logins <= logins or transport.last_heard_s > HANG_S:  # noqa: ASYNC110 (no event)
            await trio.sleep(0.01)


def with_credentials(credentials: Credentials) -> IscsiSettings:
    return attrs.evolve(SETTINGS, credentials=credentials)


class TestLogin:
    @pytest.mark.parametrize("credentials", [USER, MUTUAL], ids=["one way", "mutual"])
    async def test_chap(self, chap: str, credentials: Credentials) -> None:
        transport = await open_iscsi(chap, with_credentials(credentials))
        assert await is_ready(transport)
        await transport.aclose()

    async def test_chap_in_the_url(self, chap: str) -> None:
        named = chap.replace("//", f"//{USER.user}%{USER.password}@")
        transport = await open_iscsi(named, SETTINGS)
        assert transport.name == chap
        await transport.aclose()

    @pytest.mark.parametrize(
        ("credentials", "said"),
        [
            (Credentials("bob", "wrongwrongwrong"), "does not accept this user"),
            (Credentials("eve", "hunter2hunter2"), "does not accept this user"),
            (Credentials("bob", "hunter2hunter2", "disks", "wrongwrong"), "Invalid CHAP_R"),
            (attrs.evolve(MUTUAL, target_user="other"), "Wrong CHAP targetname"),
        ],
    )
    async def test_a_wrong_proof(self, chap: str, credentials: Credentials, said: str) -> None:
        with pytest.raises(TransportError, match=said) as raised:
            await open_iscsi(chap, with_credentials(credentials))
        for secret in (credentials.password, credentials.target_password):
            assert not secret or secret not in str(raised.value)

    async def test_no_proof_where_one_is_wanted(self, chap: str) -> None:
        with pytest.raises(TransportError, match="cannot log in"):
            await open_iscsi(chap, SETTINGS)

    async def test_header_digests(self, tgtd: Tgtd) -> None:
        tgtd.admin(
            "target", "update", "--tid", "1", "--name", "HeaderDigest", "--value", "CRC32C,None"
        )
        transport = await open_iscsi(tgtd.url(2), attrs.evolve(SETTINGS, header_digest=True))
        assert await is_ready(transport)
        buffer = bytearray(1 << 20)
        assert (await transport.execute(read(0, buffer, 512))).is_good
        await transport.aclose()

    async def test_nobody_listens(self) -> None:
        async with open_relay(1) as relay:
            port = relay.portal
        with pytest.raises(TransportError, match="Connection refused"):
            await open_iscsi(f"iscsi://{port}/{TARGET}/1", SETTINGS)

    async def test_a_target_that_there_is_not(self, tgtd: Tgtd) -> None:
        with pytest.raises(TransportError, match="no such target"):
            await open_iscsi(tgtd.url(target="iqn.2026-01.test:none"), SETTINGS)

    async def test_a_host_without_an_address(self) -> None:
        with pytest.raises(TransportError, match="cannot be resolved"):
            await open_iscsi(f"iscsi://no-such-host.invalid/{TARGET}/1", SETTINGS)

    async def test_a_name_instead_of_an_address(self, tgtd: Tgtd) -> None:
        url = tgtd.url().replace(HOST, "localhost")
        transport = await open_iscsi(url, SETTINGS)
        assert transport.name == url
        await transport.aclose()

    async def test_a_portal_is_no_disk(self, tgtd: Tgtd) -> None:
        with pytest.raises(UsageError, match="a portal, not a logical unit"):
            await open_iscsi(f"iscsi://{tgtd.portal}", SETTINGS)


class TestNexus:
    async def test_another_session_has_another_isid_and_the_next_run_the_same(
        self, tgtd: Tgtd
    ) -> None:
        first = await open_iscsi(tgtd.url(2), SETTINGS)
        assert await is_ready(first)
        second = await open_iscsi(tgtd.url(2), SETTINGS)
        assert first.initiator != second.initiator
        assert await is_ready(second)
        assert (await first.execute(test_unit_ready())).is_good, "the second does not end the first"
        name = first.initiator
        for transport in (first, second):
            await transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
        again = await open_iscsi(tgtd.url(2), SETTINGS)
        assert again.initiator == name
        assert name.startswith("iqn.2026-01.test:host-b,i,0x80")
        await again.aclose()

    async def test_a_session_made_anew_is_the_same_nexus(self, tgtd: Tgtd) -> None:
        async with open_relay(tgtd.port) as relay:
            transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", SETTINGS)
            isid = _isids(tgtd)
            relay.cut()
            relay.mend()
            await lost(transport, 1)
            assert _isids(tgtd) == isid
            await transport.aclose()


def _isids(tgtd: Tgtd) -> list[str]:
    shown = tgtd.admin("conn", "show", "--tid", "1")
    return [line.strip() for line in shown.splitlines() if "Initiator" in line]


class TestLoss:
    @pytest.fixture
    async def relay(self, tgtd: Tgtd) -> AsyncIterator[Relay]:
        async with open_relay(tgtd.port) as relay:
            yield relay

    @pytest.fixture
    async def transport(self, relay: Relay) -> AsyncIterator[IscsiTransport]:
        transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", SETTINGS)
        assert await is_ready(transport)
        yield transport
        await transport.aclose()

    async def test_what_is_in_flight_ends_at_once_and_its_fate_is_unknown(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        relay.to_initiator.hold(SCSI_RESPONSE)
        ends: list[Completion] = []

        async def one() -> None:
            ends.append(await transport.execute(synchronize_cache()))

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                for _ in range(transport.max_in_flight):
                    nursery.start_soon(one)
                await trio.testing.wait_all_tasks_blocked()
                relay.cut()
        assert {end.host_status for end in ends} == {HostStatus.TRANSPORT_DISRUPTED}
        assert len(ends) == transport.max_in_flight
        assert transport.stranded == 0

    async def test_without_a_session_nothing_is_sent(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        relay.cut()
        with trio.fail_after(HANG_S):
            while (await transport.execute(test_unit_ready())).is_good:
                pass
            while transport.last_heard_s < HANG_S:  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
        assert (await transport.execute(test_unit_ready())) == Completion(
            host_status=HostStatus.NO_CONNECT
        )
        with pytest.raises(TransportError, match="no session with the target"):
            await transport.reset_logical_unit()

    async def test_a_loss_that_nobody_saw_is_told_once(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        """The target may have forgotten our registration: somebody must look before data is written."""
        relay.cut()
        relay.mend()
        await lost(transport, 1)
        first = await transport.execute(test_unit_ready())
        assert first.host_status == HostStatus.TRANSPORT_DISRUPTED
        assert await is_ready(transport)

    async def test_a_loss_that_was_seen_is_not_told_again(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        relay.to_initiator.hold(SCSI_RESPONSE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.execute, synchronize_cache())
            await trio.testing.wait_all_tasks_blocked()
            relay.cut()
        relay.to_initiator.release()
        relay.mend()
        await lost(transport, 1)
        assert (await transport.execute(test_unit_ready())).host_status == HostStatus.OK

    async def test_closed_while_there_is_no_session(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        relay.cut()
        with trio.fail_after(HANG_S):
            while transport.last_heard_s < HANG_S:  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
        await transport.aclose()

    async def test_a_reset_whose_session_is_lost_is_not_confirmed(
        self, relay: Relay, transport: IscsiTransport
    ) -> None:
        relay.to_initiator.hold(TASK_MANAGEMENT_RESPONSE)

        async def one() -> None:
            with pytest.raises(TransportError, match="not confirmed: the target closed"):
                await transport.reset_logical_unit()

        with trio.fail_after(HANG_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                while not relay.resets:  # noqa: ASYNC110 (no event for it)
                    await trio.sleep(0.01)
                relay.cut()
        assert transport.stranded == 0


async def test_a_target_that_is_killed_and_started_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_tgtd(tmp_path_factory.mktemp("mortal")) as tgtd:
        tgtd.add_disk(1)
        transport = await open_iscsi(tgtd.url(), SETTINGS)
        tgtd.kill()
        tgtd.start(tgtd.port)
        tgtd.add_target()
        tgtd.add_disk(1)
        await lost(transport, 1)
        ends = [await transport.execute(test_unit_ready()) for _ in range(3)]
        assert ends[0].host_status == HostStatus.TRANSPORT_DISRUPTED
        assert ends[-1].is_good
        await transport.aclose()


class TestTime:
    async def test_a_target_that_stops_answering_is_given_up(self, tgtd: Tgtd) -> None:
        async with open_relay(tgtd.port) as relay:
            settings = attrs.evolve(SETTINGS, ping_after_s=0.1, ping_timeout_s=0.3)
            transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", settings)
            assert await is_ready(transport)
            relay.swallow()
            with trio.fail_after(HANG_S):
                completion = await transport.execute(test_unit_ready())
            assert completion.host_status == HostStatus.TRANSPORT_DISRUPTED
            assert "no answer to a NOP" in transport.last_loss
            await transport.aclose()

    async def test_a_slow_command_is_no_reason_to_give_up(self, tgtd: Tgtd) -> None:
        """The target answers the NOPs."""
        async with open_relay(tgtd.port) as relay:
            settings = attrs.evolve(SETTINGS, ping_after_s=0.01)
            transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", settings)
            assert await is_ready(transport)
            relay.to_initiator.hold(SCSI_RESPONSE)
            with trio.fail_after(HANG_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(transport.execute, synchronize_cache())
                    while relay.pings < 3:  # noqa: ASYNC110 (no event for it)
                        await trio.sleep(0.01)
                    relay.to_initiator.release()
            assert transport.logins == 1
            await transport.aclose()

    async def test_an_overdue_command_is_aborted(self, tgtd: Tgtd) -> None:
        async with open_relay(tgtd.port) as relay:
            transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", SETTINGS)
            assert await is_ready(transport)
            relay.to_initiator.hold(SCSI_RESPONSE)
            with trio.fail_after(HANG_S):
                completion = await transport.execute(overdue(synchronize_cache()))
            assert completion == Completion(host_status=HostStatus.TIME_OUT)
            relay.to_initiator.release()
            assert (await transport.execute(test_unit_ready())).is_good
            assert transport.logins == 1
            await transport.aclose()

    async def test_an_abort_without_an_answer_ends_the_session(self, tgtd: Tgtd) -> None:
        async with open_relay(tgtd.port) as relay:
            transport = await open_iscsi(f"iscsi://{relay.portal}/{TARGET}/2", SETTINGS)
            assert await is_ready(transport)
            relay.to_initiator.hold(SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE)
            with trio.fail_after(HANG_S):
                completion = await transport.execute(overdue(synchronize_cache()))
            assert completion.host_status == HostStatus.TRANSPORT_DISRUPTED
            assert "ABORT TASK" in transport.last_loss
            relay.to_initiator.release()
            await transport.aclose()


def overdue(command: Command) -> Command:
    return attrs.evolve(command, timeout_s=0.1)


class TestSendTargets:
    async def test_a_portal_tells_its_targets(self, tgtd: Tgtd) -> None:
        found = await discover_targets(f"iscsi://{tgtd.portal}", SETTINGS)
        assert Target(TARGET, ((HOST, tgtd.port),)) in found

    async def test_units_of_a_portal(self, tgtd: Tgtd) -> None:
        found = await find_units(f"iscsi://{tgtd.portal}", SETTINGS)
        assert {tgtd.url(1), tgtd.url(2)} <= set(found)

    @pytest.mark.parametrize(
        ("items", "said"),
        [
            ("TargetName=disks\0", "whose name is none"),
            ("TargetName=iqn.a:b\0TargetAddress=a b\0", "no portal"),
            ("TargetName=iqn.a:b\0TargetAddress=h:99999,1\0", "no portal"),
            ("TargetAddress=h\0", "no list of targets"),
            ("TargetName=iqn.a:bcd", "no list of targets"),
            ("Surprise=1\0", "no list of targets"),
        ],
    )
    async def test_a_list_that_is_none(self, items: str, said: str) -> None:
        async with hostile_target() as target:
            _list(target, items.encode())
            with trio.fail_after(HANG_S), pytest.raises(MpioError, match=said):
                await discover_targets(f"iscsi://{HOST}:{target.port}", SETTINGS)

    async def test_portals_of_every_form(self) -> None:
        items = (
            "TargetName=iqn.a:b\0TargetAddress=[fe80::1]:99,1\0TargetAddress=h\0"
            "TargetAddress=0.0.0.0:7,2\0TargetName=iqn.a:a\0"
        )
        async with hostile_target() as target:
            _list(target, items.encode())
            found = await discover_targets(f"iscsi://{HOST}:{target.port}", SETTINGS)
        assert found == (
            Target("iqn.a:a", ((HOST, target.port),)),
            Target("iqn.a:b", ((HOST, 7), ("fe80::1", 99), ("h", 3260))),
        )


def _list(target: HostileTarget, items: bytes) -> None:
    target.on_login = log_in
    target.on_text = lambda c, r: c.answer(r, 0x24, fields={20: b"\xff" * 4}, data=items)
