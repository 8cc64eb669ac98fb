"""A device in memory: what the file system needs of one, and a record of what was asked of it."""

import errno
from collections.abc import Callable

import attrs
import trio

from mpio_fuse.errors import Fenced, MpioError, NoSpace, OpenRefused
from mpio_fuse.fs.served import Buffer
from mpio_fuse.reserve.fig07_decision import OpenOption


def _nobody() -> None:
    pass


@attrs.define(eq=False)
class MemoryDevice:
    """``asked`` holds ``(operation, ...)`` in order, ``granted`` every handle there ever was.

    ``failure`` is raised by the next data command; closes wait for ``closing``.
    """

    name: str = "naa.6001405"
    size_bytes: int = 1 << 20
    on_fenced: Callable[[], None] = _nobody
    data: bytearray = attrs.field(init=False)
    asked: list[tuple[object, ...]] = attrs.Factory(list)
    granted: list["MemoryHandle"] = attrs.Factory(list)
    is_foreign: bool = False
    failure: Exception | None = None
    closing: trio.Event | None = None

    def __attrs_post_init__(self) -> None:
        self.data = bytearray(self.size_bytes)

    def stop_waiting(self) -> None:
        """Nothing here waits for anything."""

    async def open(self, options: OpenOption) -> "MemoryHandle":
        await trio.lowlevel.checkpoint()
        self.asked.append(("open", options))
        if self.is_foreign:
            raise OpenRefused("reserved by another host", errno.EIO, lun=self.name)
        handle = MemoryHandle(self, owns_reservation=OpenOption.NO_RESERVE not in options)
        self.granted.append(handle)
        return handle

    def fence(self) -> None:
        self.on_fenced()

    def take(self) -> None:
        """Fence the device, and fail what comes through the handles of before, as a real one does."""
        for handle in self.granted:
            handle.is_fenced = handle.owns_reservation
        self.fence()


@attrs.define(eq=False)
class MemoryHandle:
    device: MemoryDevice
    owns_reservation: bool
    is_fenced: bool = False

    async def _ask(self, *asked: object) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_fenced:
            raise Fenced("taken by another host", lun=self.device.name)
        self.device.asked.append(asked)
        if self.device.failure is not None:
            failure, self.device.failure = self.device.failure, None
            raise failure

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        await self._ask("read", offset_bytes, length_bytes)
        return bytes(self.device.data[offset_bytes : offset_bytes + length_bytes])

    async def write(self, offset_bytes: int, data: Buffer, *, durable: bool = False) -> int:
        await self._ask("write", offset_bytes, len(data), durable)
        room_bytes = self.device.size_bytes - offset_bytes
        if room_bytes <= 0:
            raise NoSpace("past the end", lun=self.device.name)
        fits = data[:room_bytes]
        self.device.data[offset_bytes : offset_bytes + len(fits)] = fits
        return len(fits)

    async def flush(self) -> None:
        await self._ask("flush")

    async def aclose(self) -> None:
        await self._ask("close")
        if self.device.closing is not None:
            await self.device.closing.wait()


class Unexpected(Exception):
    """Nothing anybody raises on purpose."""


class Expected(MpioError):
    """Something somebody raises on purpose."""

    errno = errno.EBADE
