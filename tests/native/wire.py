"""A wire: every packet that one device receives is sent by another, later or not at all.

``python -m tests.native.wire DEVICE DEVICE`` reads lines ``DELAY_S LOSS SEED`` from its standard input: each packet is
late by so much, and lost with so much probability, from then on.  It answers each line with ``ok``.

The kernels of these tests have no netem.  A wire works below TCP, as netem does: what is lost is sent again by the
kernel at the other end, with its timers.  Packets are lost by a seeded generator, but which packets there are is up to
two kernels, so a run does not repeat exactly.
"""

import heapq
import itertools
import random
import select
import socket
import sys
import time

import attrs

ETH_P_ALL = 3
LONGEST_PACKET_BYTES = 70_000
RECEIVE_BYTES = 8 << 20
BATCH = 64
OK = "ok\n"


def _socket(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    made.bind((device, ETH_P_ALL))
    made.settimeout(0)
    return made


@attrs.define
class Wire:
    """Two sockets and the packets between them, in the order in which they are due."""

    ends: tuple[socket.socket, socket.socket]
    delay_s: float = 0.0
    loss: float = 0.0
    chance: random.Random = attrs.Factory(lambda: random.Random(0))  # noqa: S311 (no secret)
    _under_way: list[tuple[float, int, int, bytes]] = attrs.Factory(list)
    _numbers: "itertools.count[int]" = attrs.Factory(itertools.count)

    def take(self, end: int) -> None:
        """Receive what has come to one end."""
        for _ in range(BATCH):
            try:
                packet, address = self.ends[end].recvfrom(LONGEST_PACKET_BYTES)
            except OSError:  # nothing more; or the device is down
                return
            if address[2] == socket.PACKET_OUTGOING or self.chance.random() < self.loss:
                continue
            due = (time.monotonic() + self.delay_s, next(self._numbers), 1 - end, packet)
            heapq.heappush(self._under_way, due)

    def pass_on(self) -> float | None:
        """Send what is due; how long until the next one is."""
        while self._under_way:
            wait_s = self._under_way[0][0] - time.monotonic()
            if wait_s > 0:
                return wait_s
            _, _, end, packet = heapq.heappop(self._under_way)
            try:
                self.ends[end].send(packet)
            except OSError:  # down, or its queue is full: lost, as on any wire
                continue
        return None

    def obey(self, line: str) -> None:
        delay, loss, seed = line.split()
        self.delay_s, self.loss, self.chance = float(delay), float(loss), random.Random(int(seed))  # noqa: S311


def main(*devices: str) -> None:
    """Until the standard input ends."""
    wire = Wire((_socket(devices[0]), _socket(devices[1])))
    poll = select.poll()
    for descriptor in (sys.stdin.fileno(), *(end.fileno() for end in wire.ends)):
        poll.register(descriptor, select.POLLIN)
    ends = {end.fileno(): number for number, end in enumerate(wire.ends)}
    while True:
        wait_s = wire.pass_on()
        for descriptor, _ in poll.poll(None if wait_s is None else wait_s * 1000):
            if descriptor in ends:
                wire.take(ends[descriptor])
                continue
            if not (line := sys.stdin.readline()):
                return
            wire.obey(line)
            sys.stdout.write(OK)
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
