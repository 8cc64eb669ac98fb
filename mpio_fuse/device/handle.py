"""One open of a device: what a file system holds while a file is open."""

from collections.abc import Coroutine
from typing import Any, Protocol

from mpio_fuse.device.data_path import Buffer, DataPath
from mpio_fuse.device.geometry import Geometry
from mpio_fuse.device.grant import Grant
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption


class OpenDevice(Protocol):
    """What a handle needs of its device."""

    @property
    def name(self) -> str: ...

    @property
    def geometry(self) -> Geometry: ...

    @property
    def data(self) -> DataPath: ...

    async def close(self, handle: "Handle") -> None: ...


class Handle:
    """One open of a device.  Made by `PseudoDevice.open` only."""

    def __init__(self, device: OpenDevice, grant: Grant, options: OpenOption) -> None:
        self._device = device
        self.grant = grant
        self.options = options
        self._lost_writes = grant.lost_writes

    @property
    def owns_reservation(self) -> bool:
        """Whether nobody else can write while this handle is good, so that its data may be cached."""
        return OpenOption.NO_RESERVE not in self.options

    # These two hand on what is to be awaited: a coroutine more takes as long as all else they do.

    def read(self, offset_bytes: int, length_bytes: int) -> Coroutine[Any, Any, Buffer]:
        """The bytes at that offset; fewer at the end of the device, none beyond it."""
        device = self._device
        return device.data.read(self.grant, device.geometry, offset_bytes, length_bytes)

    def write(
        self, offset_bytes: int, data: Buffer, *, durable: bool = False
    ) -> Coroutine[Any, Any, int]:
        """Write at that offset, to the medium itself when ``durable``; how many bytes."""
        device = self._device
        return device.data.write(self.grant, device.geometry, offset_bytes, data, durable=durable)

    async def flush(self) -> None:
        """What was written is on the medium (SYNCHRONIZE CACHE)."""
        await self._device.data.flush(self.grant)
        if self._lost_writes != self.grant.lost_writes:
            self._lost_writes = self.grant.lost_writes
            raise MpioError(
                "the array lost data that it had accepted (deferred error)",
                lun=self._device.name,
                hint="what was written since the last fsync is to be written again",
            )

    async def aclose(self) -> None:
        """Give the handle up.  The last one flushes and releases the reservation, unless it is retained."""
        await self._device.close(self)
