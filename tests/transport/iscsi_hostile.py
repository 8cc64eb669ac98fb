"""A target that logs an initiator in as it should, and then answers what a test tells it to."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

HOST = "127.0.0.1"
TARGET = "iqn.2026-01.test:hostile"

NOP_OUT, COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05
NOP_IN, RESPONSE, LOGIN_RESPONSE, DATA_IN, R2T, ASYNC, REJECT = (
    0x20,
    0x21,
    0x23,
    0x25,
    0x31,
    0x32,
    0x3F,
)
FINAL = 0x80
NO_TAG = 0xFFFFFFFF
WINDOW = 128
SMALL_BYTES = 4096
"""A receive buffer that a deaf target fills soon."""

GOOD_LOGIN = b"TargetPortalGroupTag=1\0MaxRecvDataSegmentLength=8192\0HeaderDigest=None\0"


def pdu(
    opcode: int,
    flags: int = FINAL,
    *,
    tag: int = NO_TAG,
    data: bytes = b"",
    length: int | None = None,
    fields: dict[int, bytes] | None = None,
) -> bytes:
    """A PDU; ``fields`` are bytes at offsets of its header, ``length`` what it claims of its data."""
    header = bytearray(48)
    header[0], header[1] = opcode, flags
    header[5:8] = (len(data) if length is None else length).to_bytes(3, "big")
    header[16:20] = tag.to_bytes(4, "big")
    for offset, value in (fields or {}).items():
        header[offset : offset + len(value)] = value
    return bytes(header) + data + bytes(-len(data) % 4)


def u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


@attrs.define(eq=False)
class Connection:
    """One initiator's connection, with the numbers that every answer carries."""

    stream: trio.SocketStream
    status_number: int = 1
    command_number: int = 0

    def numbers(self) -> bytes:
        """StatSN, ExpCmdSN, MaxCmdSN: at offset 24 of most PDUs."""
        self.status_number += 1
        expected = (self.command_number + 1) & NO_TAG
        return u32(self.status_number, expected, (expected + WINDOW) & NO_TAG)

    def answer(self, request: bytes, opcode: int, flags: int = FINAL, **more: object) -> bytes:
        """A PDU with the request's tag and good numbers."""
        fields = {24: self.numbers()} | dict(more.pop("fields", {}))  # type: ignore[call-overload]
        tag = int.from_bytes(request[16:20], "big")
        return pdu(opcode, flags, tag=tag, fields=fields, **more)  # type: ignore[arg-type]


Answer = Callable[[Connection, bytes], bytes | None]
"""What is sent for a PDU; None ends the connection."""


def log_in(
    connection: Connection, request: bytes, text: bytes = GOOD_LOGIN, status: int = 0
) -> bytes:
    """The response to a login that goes straight to the full feature phase."""
    connection.command_number = (int.from_bytes(request[24:28], "big") - 1) & NO_TAG
    fields = {8: request[8:14] + b"\0\1", 36: status.to_bytes(2, "big")}
    return connection.answer(request, LOGIN_RESPONSE, request[1], data=text, fields=fields)


def nop(connection: Connection, request: bytes) -> bytes:
    return connection.answer(request, NOP_IN, fields={20: u32(NO_TAG)})


def good(connection: Connection, request: bytes) -> bytes:
    """GOOD, with all the data of a read."""
    length = int.from_bytes(request[20:24], "big")
    if request[1] & 0x40:
        data = bytes([0xA5]) * length
        return connection.answer(request, DATA_IN, FINAL | 1, data=data)
    return connection.answer(request, RESPONSE)


def task_managed(response: int) -> Answer:
    """The response to a task management function (RFC 7143 11.6.1)."""
    return lambda connection, request: connection.answer(
        request, 0x22, fields={2: bytes([response])}
    )


function_complete = task_managed(0)


@attrs.define(eq=False)
class HostileTarget:
    """``on_command`` answers SCSI commands, ``on_login`` logins, ``on_text`` SendTargets, ``on_data`` Data-Out.

    While ``reads`` is not set it is deaf.
    """

    port: int = 0
    on_login: Answer = log_in
    on_command: Answer = good
    on_data: Answer = lambda _connection, _request: b""
    on_task_management: Answer = function_complete
    on_text: Answer = lambda _connection, _request: None
    reads: trio.Event = attrs.Factory(trio.Event)
    commands: list[bytes] = attrs.Factory(list)
    data_out: int = 0
    logins: int = 0

    @property
    def url(self) -> str:
        return f"iscsi://{HOST}:{self.port}/{TARGET}/1"

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        try:
            await self._converse(connection)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, connection: Connection) -> None:
        received = bytearray()
        while True:
            while len(received) >= 48:
                whole = 48 + (int.from_bytes(received[5:8], "big") + 3) // 4 * 4
                if len(received) < whole:
                    break
                answer = self._answer(connection, bytes(received[:whole]))
                del received[:whole]
                if answer is None:
                    return
                await connection.stream.send_all(answer)
            await self.reads.wait()
            more = await connection.stream.receive_some(1 << 16)
            if not more:
                return
            received += more

    def _answer(self, connection: Connection, request: bytes) -> bytes | None:
        opcode = request[0] & 0x3F
        if opcode == LOGIN:
            self.logins += 1
            return self.on_login(connection, request)
        if not request[0] & 0x40 and opcode != DATA_OUT:
            connection.command_number = int.from_bytes(request[24:28], "big")
        if opcode == COMMAND:
            self.commands.append(request)
            return self.on_command(connection, request)
        if opcode == TASK_MANAGEMENT:
            return self.on_task_management(connection, request)
        if opcode == TEXT:
            return self.on_text(connection, request)
        if opcode == DATA_OUT:
            self.data_out += len(request) - 48
            return self.on_data(connection, request)
        return nop(connection, request) if opcode == NOP_OUT else b""


@asynccontextmanager
async def hostile_target() -> AsyncIterator[HostileTarget]:
    """A target on loopback, which behaves until a test says otherwise."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        target = HostileTarget(port=listener.socket.getsockname()[1])
        target.reads.set()
        nursery.start_soon(trio.serve_listeners, target.serve, [listener])
        yield target
        nursery.cancel_scope.cancel()
