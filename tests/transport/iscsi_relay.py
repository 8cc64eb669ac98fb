"""A TCP relay between an initiator and its target: it cuts, delays, holds and counts what goes over one link.

It knows where PDUs begin (RFC 7143 11.2.1, without digests) and nothing more of them than their operation codes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

HOST = "127.0.0.1"
HEADER_BYTES = 48
CHUNK_BYTES = 64 << 10

NOP_OUT = 0x00
TASK_MANAGEMENT_REQUEST = 0x02
TASK_MANAGEMENT_RESPONSE = 0x22
LOGICAL_UNIT_RESET = 5


class Link:
    """One direction's faults, changed while it runs."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.held: frozenset[int] = frozenset()
        self.released = trio.Event()

    def hold(self, *opcodes: int) -> None:
        """Keep PDUs of those kinds back until `release`."""
        self.held = frozenset(opcodes)
        self.released = trio.Event()

    def release(self) -> None:
        self.held = frozenset()
        self.released.set()


@attrs.define(eq=False)
class Relay:
    """Listens at ``portal`` and forwards to the target's port.  ``is_cut``: new connections end at once."""

    target_port: int
    nursery: trio.Nursery
    listener: trio.SocketListener
    to_initiator: Link = attrs.Factory(Link)
    is_cut: bool = False
    is_black_hole: bool = False
    resets: int = 0
    pings: int = 0
    logins: int = 0
    _connections: list[trio.CancelScope] = attrs.Factory(list)
    _moving: trio.Event = attrs.Factory(trio.Event)

    @property
    def portal(self) -> str:
        return f"{HOST}:{self.listener.socket.getsockname()[1]}"

    def cut(self) -> None:
        """End all connections, and let none come about."""
        self.is_cut = True
        for scope in self._connections:
            scope.cancel()

    def mend(self) -> None:
        self.is_cut = False

    def swallow(self) -> None:
        """Forward nothing more; the connections stay."""
        self.is_black_hole = True

    async def serve(self, initiator: trio.SocketStream) -> None:
        if self.is_cut:
            await initiator.aclose()
            return
        self.logins += 1
        with trio.CancelScope() as scope:
            self._connections.append(scope)
            target = await trio.open_tcp_stream(HOST, self.target_port)
            async with initiator, target, trio.open_nursery() as nursery:
                nursery.start_soon(self._outward, initiator, target, nursery.cancel_scope)
                nursery.start_soon(self._inward, target, initiator, nursery.cancel_scope)
        self._connections.remove(scope)

    async def _outward(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        async for pdu in _pdus(source):
            is_reset = pdu[0] & 0x3F == TASK_MANAGEMENT_REQUEST
            self.resets += is_reset and pdu[1] & 0x7F == LOGICAL_UNIT_RESET
            self.pings += pdu[0] & 0x3F == NOP_OUT
            await self._forward(pdu, sink)
        scope.cancel()

    async def _inward(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        """Each PDU takes ``delay_s``, all of them at the same time."""
        link = self.to_initiator
        send, receive = trio.open_memory_channel[tuple[float, bytes]](100_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._delayed, receive, sink)
            async for pdu in _pdus(source):
                if pdu[0] & 0x3F in link.held:
                    nursery.start_soon(self._held, link.released, pdu, sink)
                else:
                    send.send_nowait((trio.current_time() + link.delay_s, pdu))
            scope.cancel()

    async def _delayed(
        self, pdus: "trio.MemoryReceiveChannel[tuple[float, bytes]]", sink: trio.SocketStream
    ) -> None:
        async for due_s, pdu in pdus:
            await trio.sleep_until(due_s)
            await self._forward(pdu, sink)

    async def _held(self, released: trio.Event, pdu: bytes, sink: trio.SocketStream) -> None:
        await released.wait()
        await self._forward(pdu, sink)

    async def _forward(self, pdu: bytes, sink: trio.SocketStream) -> None:
        if self.is_black_hole:
            return
        try:
            await sink.send_all(pdu)
        except trio.BrokenResourceError:
            for scope in self._connections:
                scope.cancel()


async def _pdus(source: trio.SocketStream) -> AsyncIterator[bytes]:
    data = bytearray()
    while True:
        while len(data) >= HEADER_BYTES:
            segment_bytes = int.from_bytes(data[5:8], "big")
            whole = HEADER_BYTES + (segment_bytes + 3) // 4 * 4
            if len(data) < whole:
                break
            yield bytes(data[:whole])
            del data[:whole]
        try:
            more = await source.receive_some(CHUNK_BYTES)
        except trio.BrokenResourceError:
            return
        if not more:
            return
        data += more


@asynccontextmanager
async def open_relay(target_port: int) -> AsyncIterator[Relay]:
    """A relay to a target on loopback."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        relay = Relay(target_port, nursery, listener)
        nursery.start_soon(trio.serve_listeners, relay.serve, [listener])
        yield relay
        nursery.cancel_scope.cancel()
