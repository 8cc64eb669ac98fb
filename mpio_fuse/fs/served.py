"""What the file system needs of a device, and no more.

`mpio_fuse.device.pseudo_device.PseudoDevice` and its handles fit these; so does anything a test makes up.
"""

from collections.abc import Callable
from typing import Protocol

from mpio_fuse.reserve.fig07_decision import OpenOption

Buffer = bytes | bytearray | memoryview


class OpenHandle(Protocol):
    """One granted open of a device."""

    @property
    def owns_reservation(self) -> bool:
        """Whether this host keeps all others from writing, so that the kernel's page cache is safe."""
        ...

    async def read(self, offset_bytes: int, length_bytes: int) -> Buffer:
        """The bytes there; fewer than asked for only at the end of the device."""
        ...

    async def write(self, offset_bytes: int, data: Buffer, *, durable: bool = False) -> int:
        """How many bytes were written; fewer than given only at the end of the device."""
        ...

    async def flush(self) -> None:
        """Return once everything written is on the medium."""
        ...

    async def aclose(self) -> None:
        """Give the open up; the last one gives up the reservation."""
        ...


class ServedDevice(Protocol):
    """A device that can be shown as a file."""

    on_fenced: Callable[[], None]
    """Called, in the event loop, when another host has taken the device away."""

    @property
    def name(self) -> str: ...

    @property
    def size_bytes(self) -> int:
        """0 while it is not known."""
        ...

    def stop_waiting(self) -> None:
        """The device is about to go: requests that wait for an underpath fail at once, now and later."""
        ...

    async def open(self, options: OpenOption) -> OpenHandle:
        """Run the reserve procedure the options choose.

        Raises:
            OpenRefused: it ended in an error; ``errno`` says which.
            UsageError: the options contradict each other.
        """
        ...
