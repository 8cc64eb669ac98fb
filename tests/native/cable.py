"""A cable: a TCP relay to the target, as a process: ``python -m tests.native.cable LISTEN_PORT TARGET_PORT``."""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import attrs
import trio

from tests.transport.tgtd import HOST, free_port

CHUNK_BYTES = 256 << 10
READY = "ready\n"


@attrs.define
class Cable:
    """From ``port`` on loopback to the target.  Pulled, both ends see their connections end and no new one begin."""

    target_port: int
    port: int = attrs.Factory(free_port)
    process: "subprocess.Popen[str] | None" = None

    def url(self, target: str, lun: int) -> str:
        return f"iscsi://{HOST}:{self.port}/{target}/{lun}"

    @property
    def pid(self) -> int:
        """Its process's number, while it is plugged in."""
        if self.process is None:
            raise RuntimeError("the cable is not plugged in")
        return self.process.pid

    def plug(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.native.cable",
            str(self.port),
            str(self.target_port),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != READY:
            raise RuntimeError(f"no cable at port {self.port}")

    def pull(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def freeze(self) -> None:
        """Forward nothing more; the connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


async def _forward(
    source: trio.SocketStream, sink: trio.SocketStream, end: Callable[[], None]
) -> None:
    try:
        while data := await source.receive_some(CHUNK_BYTES):
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass
    end()


def _relay(target_port: int) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def serve(initiator: trio.SocketStream) -> None:
        try:
            target = await trio.open_tcp_stream(HOST, target_port)
        except OSError:
            return
        async with target, trio.open_nursery() as nursery:
            end = nursery.cancel_scope.cancel
            nursery.start_soon(_forward, initiator, target, end)
            nursery.start_soon(_forward, target, initiator, end)

    return serve


async def main(port: int, target_port: int) -> None:
    listeners = await trio.open_tcp_listeners(port, host=HOST)
    sys.stdout.write(READY)
    sys.stdout.flush()
    await trio.serve_listeners(_relay(target_port), listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
