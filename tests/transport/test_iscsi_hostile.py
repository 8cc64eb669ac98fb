"""What a target may send, and how it ends: an error on that underpath, and a process that lives."""

import random
from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from mpio_fuse.errors import TransportError
from mpio_fuse.scsi.block import read, write
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.transport.iscsi import Credentials, IscsiSettings, IscsiTransport, open_iscsi
from tests.transport.conformance import HANG_S
from tests.transport.iscsi_hostile import (
    ASYNC,
    DATA_IN,
    FINAL,
    LOGIN_RESPONSE,
    NO_TAG,
    NOP_IN,
    R2T,
    REJECT,
    RESPONSE,
    Answer,
    Connection,
    HostileTarget,
    good,
    hostile_target,
    log_in,
    pdu,
    task_managed,
    u32,
)

BLOCK = 512
READ_BYTES = 4096
SETTINGS = IscsiSettings(
    initiator_name="iqn.2026-01.test:host-a", login_timeout_s=HANG_S, link_timeout_s=HANG_S
)
CHAP = Credentials("user", "secret secret")
MUTUAL = Credentials("user", "secret secret", "target", "other secret")


@pytest.fixture
async def target() -> AsyncIterator[HostileTarget]:
    async with hostile_target() as target:
        yield target


@pytest.fixture
async def transport(target: HostileTarget) -> AsyncIterator[IscsiTransport]:
    transport = await open_iscsi(target.url, SETTINGS)
    yield transport
    await transport.aclose()


async def one_read(transport: IscsiTransport, buffer: bytearray | None = None) -> Completion:
    with trio.fail_after(HANG_S):
        return await transport.execute(
            read(0, bytearray(READ_BYTES) if buffer is None else buffer, BLOCK)
        )


async def one_write(transport: IscsiTransport, length_bytes: int = 1 << 20) -> Completion:
    with trio.fail_after(HANG_S):
        return await transport.execute(write(0, bytes(length_bytes), BLOCK))


async def works_again(transport: IscsiTransport, target: HostileTarget) -> None:
    """The next session is as good as any."""
    target.on_command = good
    with trio.fail_after(HANG_S):
        while not (await transport.execute(test_unit_ready())).is_good:  # noqa: ASYNC110 (no event for it)
            await trio.sleep(0.01)


def data_in(
    offset: int = 0, length: int = READ_BYTES, flags: int = FINAL | 1, status: int = 0
) -> Answer:
    def answer(connection: Connection, request: bytes) -> bytes:
        fields = {3: bytes([status]), 40: u32(offset)}
        return connection.answer(request, DATA_IN, flags, data=bytes(length), fields=fields)

    return answer


def twice(one: Answer) -> Answer:
    def answer(connection: Connection, request: bytes) -> bytes:
        return (one(connection, request) or b"") + (one(connection, request) or b"")

    return answer


def r2t(offset: int, length: int, tag: int | None = None) -> Answer:
    def answer(connection: Connection, request: bytes) -> bytes:
        fields = {20: u32(7), 40: u32(offset, length)} | ({16: u32(tag)} if tag is not None else {})
        return connection.answer(request, R2T, fields=fields)

    return answer


ENDS_OF_SESSIONS: dict[str, Answer] = {
    "connection closed": lambda _c, _r: None,
    "segment of 16 MiB": lambda c, r: c.answer(r, DATA_IN, length=0xFFFFFF),
    "additional header": lambda c, r: c.answer(r, RESPONSE, fields={4: b"\1"}),
    "data beyond the buffer": data_in(offset=READ_BYTES),
    "data at an offset that wraps": data_in(offset=0xFFFFFF00),
    "more data than asked for": data_in(length=READ_BYTES + 512),
    "data that begins late": data_in(offset=512, length=512),
    "the same data twice": twice(data_in(length=512, flags=0)),
    "check condition with data": data_in(status=Status.CHECK_CONDITION),
    "data acknowledgement asked for": data_in(flags=FINAL | 0x41),
    "R2T for a read": r2t(0, 512),
    "R2T for nothing": r2t(0, 512, tag=0x12345678),
    "response that is not final": lambda c, r: c.answer(r, RESPONSE, 0),
    "status that there is not": lambda c, r: c.answer(r, RESPONSE, fields={3: b"\x99"}),
    "login response": lambda c, r: c.answer(r, LOGIN_RESPONSE, 0x87),
    "wrong kind of response": lambda c, r: c.answer(r, 0x22),
    "unknown operation code": lambda c, r: c.answer(r, 0x3C),
    "reject": lambda c, r: c.answer(r, REJECT, fields={2: b"\4"}, data=r[:48]),
    "reject without the PDU": lambda c, r: c.answer(r, REJECT, fields={2: b"\4"}),
    "logout demanded": lambda c, _r: pdu(ASYNC, fields={24: c.numbers(), 36: b"\1"}),
    "connection to be dropped": lambda c, _r: pdu(ASYNC, fields={24: c.numbers(), 36: b"\2"}),
    "NOP-In without end": lambda c, _r: 3000 * pdu(NOP_IN, fields={20: u32(7), 24: c.numbers()}),
    "noise": lambda _c, _r: random.Random(1).randbytes(4096),  # noqa: S311 (no secret)
}


@pytest.mark.parametrize("answer", ENDS_OF_SESSIONS.values(), ids=ENDS_OF_SESSIONS)
async def test_the_session_ends_and_the_next_one_works(
    target: HostileTarget, transport: IscsiTransport, answer: Answer
) -> None:
    def then_close(connection: Connection, request: bytes) -> bytes | None:
        target.on_command = lambda _connection, _request: None
        return answer(connection, request)

    target.on_command = then_close
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_read, transport)
            while transport.logins == 1:  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
    await works_again(transport, target)


ENDS_OF_WRITES: dict[str, Answer] = {
    "R2T of 4 GiB": r2t(0, 0xFFFFFFFF),
    "R2T beyond the end": r2t(1 << 20, 512),
    "R2T of nothing": r2t(0, 0),
    "R2T for the same data twice": twice(r2t(8192, 8192)),
    "R2T for something else": r2t(0, 512, tag=NO_TAG),
    "data for a write": data_in(),
}


@pytest.mark.parametrize("answer", ENDS_OF_WRITES.values(), ids=ENDS_OF_WRITES)
async def test_a_write_ends_with_the_session(
    target: HostileTarget, transport: IscsiTransport, answer: Answer
) -> None:
    target.on_command = answer
    completion = await one_write(transport)
    assert completion.host_status == HostStatus.TRANSPORT_DISRUPTED
    await works_again(transport, target)


async def test_an_answer_before_the_data_is_sent(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    """A buffer is not given back while what was asked for is still to be sent from it."""
    count, solicited = 16, (1 << 20) - 8192

    def early(connection: Connection, request: bytes) -> bytes:
        """Nothing until all are there, then everything at once, and deaf."""
        if len(target.commands) < count:
            return b""
        target.reads = trio.Event()
        asked = [r2t(8192, solicited)(connection, one) or b"" for one in target.commands]
        busy = {3: bytes([Status.BUSY])}
        return b"".join(
            asked + [connection.answer(one, RESPONSE, fields=busy) for one in target.commands]
        )

    async def one(buffer: bytearray) -> None:
        ends[id(buffer)] = await transport.execute(write(0, memoryview(buffer), BLOCK))

    target.on_command = early
    ends: dict[int, Completion] = {}
    buffers = [bytearray(1 << 20) for _ in range(count)]
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for buffer in buffers:
                nursery.start_soon(one, buffer)
            while target.reads.is_set():  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
            while transport.last_heard_s < 0.1:  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
            assert len(ends) < count, "no socket takes 16 MiB"
            for buffer in buffers:
                if id(buffer) not in ends:
                    with pytest.raises(BufferError):
                        buffer.extend(b"its memory must not move")
            target.reads.set()
        while target.data_out < count * solicited:  # noqa: ASYNC110 (no event for it)
            await trio.sleep(0.01)
    assert {end.status for end in ends.values()} == {Status.BUSY}


@pytest.mark.parametrize("length", [0, 512, READ_BYTES - 512])
async def test_data_that_was_left_out_is_residual(
    target: HostileTarget, transport: IscsiTransport, length: int
) -> None:
    target.on_command = data_in(length=length)
    buffer = bytearray([0xEE]) * READ_BYTES
    completion = await one_read(transport, buffer)
    assert completion.residual_bytes == READ_BYTES - length
    assert buffer == bytes(length) + bytes([0xEE]) * (READ_BYTES - length)


async def test_good_without_any_data_is_residual(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    target.on_command = lambda c, r: c.answer(r, RESPONSE)
    assert (await one_read(transport)).residual_bytes == READ_BYTES


@pytest.mark.parametrize("claimed", [1, READ_BYTES, 0xFFFFFFFF])
async def test_a_claimed_residual_is_within_the_buffer(
    target: HostileTarget, transport: IscsiTransport, claimed: int
) -> None:
    def answer(connection: Connection, request: bytes) -> bytes:
        return connection.answer(request, RESPONSE, FINAL | 2, fields={44: u32(claimed)})

    target.on_command = answer
    completion = await one_write(transport, READ_BYTES)
    assert completion.residual_bytes == min(claimed, READ_BYTES)


async def test_a_target_that_could_not_is_not_good(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    target.on_command = lambda c, r: c.answer(r, RESPONSE, fields={2: b"\1"})
    completion = await one_write(transport, READ_BYTES)
    assert completion.host_status == HostStatus.ERROR


async def test_what_a_reset_took_ends_and_a_late_answer_is_nobodys(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    """A target does not answer commands that its reset took; if it does, they are over all the same."""
    ends: list[Completion] = []

    async def one(buffer: bytearray) -> None:
        ends.append(await one_read(transport, buffer))

    buffers = [bytearray([0xEE]) * READ_BYTES for _ in range(3)]
    target.on_command = lambda _connection, _request: b""
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for buffer in buffers:
                nursery.start_soon(one, buffer)
            while len(target.commands) < len(buffers):  # noqa: ASYNC110 (no event for it)
                await trio.sleep(0.01)
            await transport.reset_logical_unit()
    assert [end.host_status for end in ends] == [HostStatus.RESET] * len(buffers)

    def late(connection: Connection, request: bytes) -> bytes:
        old = b"".join(good(connection, one) for one in target.commands[: len(buffers)])
        return old + good(connection, request)

    target.on_command = late
    fresh = bytearray(READ_BYTES)
    assert (await one_read(transport, fresh)).is_good
    assert fresh == bytes([0xA5]) * READ_BYTES
    assert buffers == [bytes([0xEE]) * READ_BYTES] * len(buffers)
    assert transport.logins == 1


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (2, "no such logical unit"),
        (5, "has no LOGICAL UNIT RESET"),
        (6, "not allow"),
        (0xFF, "0xff"),
    ],
)
async def test_a_reset_that_is_refused_is_not_confirmed(
    target: HostileTarget, transport: IscsiTransport, response: int, said: str
) -> None:
    target.on_task_management = task_managed(response)
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match=said):
        await transport.reset_logical_unit()
    assert (await one_read(transport)).is_good


@pytest.mark.parametrize(
    ("response", "host_status"),
    [
        (0, HostStatus.TIME_OUT),
        (1, HostStatus.TIME_OUT),
        (5, HostStatus.TRANSPORT_DISRUPTED),
        (0xFF, HostStatus.TRANSPORT_DISRUPTED),
    ],
)
async def test_an_overdue_command_is_over_when_its_abort_is_confirmed(
    target: HostileTarget, transport: IscsiTransport, response: int, host_status: HostStatus
) -> None:
    target.on_command = lambda _connection, _request: b""
    target.on_task_management = task_managed(response)
    command = attrs.evolve(read(0, bytearray(READ_BYTES), BLOCK), timeout_s=0.05)
    with trio.fail_after(HANG_S):
        assert (await transport.execute(command)).host_status == host_status
    await works_again(transport, target)


SENSE = bytes.fromhex("70 00 05 00 00 00 00 0a 00 00 00 00 21 00 00 00 00 00")
SENSES = {
    "none": (b"", b""),
    "half a length": (b"\0", b""),
    "a length alone": (b"\0\x12", b""),
    "good": (b"\0\x12" + SENSE, SENSE),
    "longer than its data": (b"\xff\xff" + SENSE, SENSE),
    "more than kept": (b"\2\0" + bytes(512), bytes(252)),
    "descriptors beyond its end": (b"\0\x09\x72\5\x21\0\0\0\0\xff\2", b"\x72\5\x21\0\0\0\0\xff\2"),
    "descriptors of no length": (
        b"\0\x0c\x72\5\x21\0\0\0\0\xff\2\0\x80\0",
        b"\x72\5\x21\0\0\0\0\xff\2\0\x80\0",
    ),
    "noise": (bytes(range(255, 0, -1)), bytes(range(253, 1, -1))),
}


@pytest.mark.parametrize(("data", "kept"), SENSES.values(), ids=SENSES)
async def test_sense_is_what_came(
    target: HostileTarget, transport: IscsiTransport, data: bytes, kept: bytes
) -> None:
    def answer(connection: Connection, request: bytes) -> bytes:
        fields = {3: bytes([Status.CHECK_CONDITION])}
        return connection.answer(request, RESPONSE, data=data, fields=fields)

    target.on_command = answer
    completion = await one_read(transport)
    assert completion.status == Status.CHECK_CONDITION
    assert completion.sense == kept


async def test_two_sense_in_a_row_are_not_mixed(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    long, short = b"\0\x12" + SENSE, b"\0\1\x70"

    def answer(connection: Connection, request: bytes) -> bytes:
        data = long if len(target.commands) == 1 else short
        fields = {3: bytes([Status.CHECK_CONDITION])}
        return connection.answer(request, RESPONSE, data=data, fields=fields)

    target.on_command = answer
    assert (await one_read(transport)).sense == SENSE
    assert (await one_read(transport)).sense == b"\x70"


def login_text(text: bytes) -> Answer:
    return lambda connection, request: log_in(connection, request, text)


LOGINS: dict[str, tuple[Answer, str]] = {
    "closed": (lambda _c, _r: None, "closed the connection"),
    "segments of nothing": (login_text(b"MaxRecvDataSegmentLength=0\0"), "out of range"),
    "segments below zero": (login_text(b"MaxRecvDataSegmentLength=-1\0"), "out of range"),
    "segments of what": (login_text(b"MaxRecvDataSegmentLength=8192k\0"), "out of range"),
    "bursts of nothing": (login_text(b"FirstBurstLength=0\0"), "out of range"),
    "text without an end": (login_text(b"MaxBurstLength=262144"), "without an end"),
    "too much text": (login_text(b"X=1\0" * 20000), "cannot be"),
    "noise": (lambda _c, _r: bytes(range(256)), "cannot log in"),
    "another response": (lambda c, r: c.answer(r, RESPONSE), "something else than a login"),
    "an R2T": (lambda c, r: c.answer(r, R2T, fields={40: u32(0, 512)}), "something else"),
    "no such target": (lambda c, r: log_in(c, r, status=0x0203), "no such target"),
    "not let in": (lambda c, r: log_in(c, r, status=0x0202), "does not let this initiator in"),
    "out of resources": (lambda c, r: log_in(c, r, status=0x0302), "out of resources"),
    "a status there is not": (lambda c, r: log_in(c, r, status=0x9999), "cannot log in"),
    "never enough": (lambda c, r: c.answer(r, LOGIN_RESPONSE, 0x04), "cannot log in"),
    "sent nowhere": (lambda c, r: log_in(c, r, status=0x0101), "cannot log in"),
    "sent to what is no place": (
        lambda c, r: log_in(c, r, b"TargetAddress=\x1b[2J\0", 0x0101),
        "sent elsewhere, but not where",
    ),
}


@pytest.mark.parametrize(("answer", "said"), LOGINS.values(), ids=LOGINS)
async def test_a_login_that_fails_is_an_error(
    target: HostileTarget, answer: Answer, said: str
) -> None:
    target.on_login = answer
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match=said) as raised:
        await open_iscsi(target.url, SETTINGS)
    assert str(raised.value).isprintable()


async def test_sent_in_circles(target: HostileTarget) -> None:
    def elsewhere(connection: Connection, request: bytes) -> bytes:
        return log_in(
            connection, request, f"TargetAddress=127.0.0.1:{target.port},1\0".encode(), 0x0101
        )

    target.on_login = elsewhere
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match="from portal to portal"):
        await open_iscsi(target.url, SETTINGS)
    assert target.logins == 4


async def test_sent_to_the_right_portal(target: HostileTarget) -> None:
    async with hostile_target() as other:
        where = f"TargetAddress=127.0.0.1:{target.port},1\0".encode()
        other.on_login = lambda c, r: log_in(c, r, where, 0x0101)
        transport = await open_iscsi(other.url, SETTINGS)
        assert transport.name == other.url
        assert (await transport.execute(test_unit_ready())).is_good
        assert len(target.commands) == 1
        await transport.aclose()


@pytest.mark.parametrize("length", [1, 47, 48, 100, 48 + READ_BYTES - 1])
async def test_half_a_pdu_and_then_nothing(
    target: HostileTarget, transport: IscsiTransport, length: int
) -> None:
    """The rest never comes; the connection ends when the next command gets the same treatment."""

    def half(connection: Connection, request: bytes) -> bytes | None:
        return good(connection, request)[:length] if len(target.commands) == 1 else None

    target.on_command = half
    with trio.fail_after(HANG_S):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(one_read, transport)
    await works_again(transport, target)


async def test_a_login_that_never_ends(target: HostileTarget) -> None:
    target.on_login = lambda _connection, _request: b""
    impatient = IscsiSettings(initiator_name="iqn.2026-01.test:host-a", login_timeout_s=0.2)
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match=r"no login within 0.2 s"):
        await open_iscsi(target.url, impatient)


def settings_with(credentials: Credentials, *, header_digest: bool = False) -> IscsiSettings:
    return IscsiSettings(
        initiator_name="iqn.2026-01.test:host-a",
        login_timeout_s=HANG_S,
        credentials=credentials,
        header_digest=header_digest,
    )


async def test_mutual_chap_cannot_be_left_out(target: HostileTarget) -> None:
    """That library checks what the target proves, but lets it go straight to the end without proving anything."""

    def skip(connection: Connection, request: bytes) -> bytes:
        connection.command_number = (int.from_bytes(request[24:28], "big") - 1) & NO_TAG
        return connection.answer(
            request, LOGIN_RESPONSE, 0x87, data=GOOD_TEXT, fields={36: b"\0\0"}
        )

    target.on_login = skip
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match="did not prove"):
        await open_iscsi(target.url, settings_with(MUTUAL))


GOOD_TEXT = b"TargetPortalGroupTag=1\0"


@pytest.mark.parametrize("challenge", [b"0x", b"0xabc", b"0x" + b"ab" * 1025, b"0xzz"])
async def test_a_chap_challenge_that_is_none(target: HostileTarget, challenge: bytes) -> None:
    def challenged(connection: Connection, request: bytes) -> bytes:
        text = b"AuthMethod=CHAP\0CHAP_A=5\0CHAP_I=1\0CHAP_C=" + challenge + b"\0"
        return connection.answer(request, LOGIN_RESPONSE, 0x00, data=text, fields={36: b"\0\0"})

    target.on_login = challenged
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match="challenge that is none"):
        await open_iscsi(target.url, settings_with(CHAP))


async def test_header_digests_cannot_be_refused(target: HostileTarget) -> None:
    with trio.fail_after(HANG_S), pytest.raises(TransportError, match="refuses header digests"):
        await open_iscsi(target.url, settings_with(Credentials(), header_digest=True))


ROUNDS = 300


async def test_random_changes_to_good_answers(
    target: HostileTarget, transport: IscsiTransport
) -> None:
    """Each command gets a good answer in which some bytes are others."""
    chance = random.Random(20260101)  # noqa: S311 (no secret)

    def changed(connection: Connection, request: bytes) -> bytes:
        answer = bytearray(good(connection, request))
        if chance.random() < 0.3:
            answer[:0] = r2t(0, chance.choice([512, 8192, 1 << 20]))(connection, request) or b""
        for _ in range(chance.randrange(4)):
            answer[chance.randrange(min(48, len(answer)))] = chance.randrange(256)
        return bytes(answer[: chance.randrange(len(answer))] if chance.random() < 0.05 else answer)

    target.on_command = changed
    for index in range(ROUNDS):
        with trio.move_on_after(0.05):
            await (one_read(transport) if index % 2 else one_write(transport, 1 << 16))
    target.on_command = good
    if transport.stranded:
        target.on_command = lambda _connection, _request: None
        await one_read(transport)
    await works_again(transport, target)
    assert transport.stranded == 0
