"""Requests to the control socket that are about one LUN: its reservation, its opens, its underpaths.

They speak to the array, so each may take as long as the device's own bounds let it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from mpio_fuse.daemon.explanation import explanation_document
from mpio_fuse.daemon.reserve_reading import read
from mpio_fuse.device.reserve_reader import ReserveReader
from mpio_fuse.device.snapshot import DeviceSnapshot
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.explain import explain
from mpio_fuse.reserve.option_words import parse_options
from mpio_fuse.reserve.situation import Situation


class AskedDevice(Protocol):
    """A device that these requests are about."""

    @property
    def name(self) -> str: ...

    @property
    def reader(self) -> ReserveReader: ...

    def snapshot(self) -> DeviceSnapshot: ...

    async def situation(self) -> Situation: ...

    async def release_retained(self) -> None: ...

    async def fail_underpath(self, name: str) -> None: ...

    async def reinstate_underpath(self, name: str) -> None: ...


async def answer_for(
    devices: Sequence[AskedDevice], request: dict[str, Any]
) -> dict[str, Any] | None:
    """The reply; None when the request is no such one.

    Raises:
        MpioError: there is no such LUN, or it cannot be done.
    """
    match request:
        case {"request": "persist", "lun": str(lun), "action": str(action)}:
            return {"ok": True, "persist": await read(_device(devices, lun).reader, action)}
        case {"request": "explain", "lun": str(lun), "options": str(options)}:
            return {"ok": True, "explain": await _explain(_device(devices, lun), options)}
        case {"request": "release", "lun": str(lun)}:
            await _device(devices, lun).release_retained()
            return {"ok": True}
        case {"request": "underpath", "action": "fail", "lun": str(lun), "device": str(device)}:
            await _device(devices, lun).fail_underpath(device)
            return {"ok": True}
        case {
            "request": "underpath",
            "action": "reinstate",
            "lun": str(lun),
            "device": str(device),
        }:
            await _device(devices, lun).reinstate_underpath(device)
            return {"ok": True}
    return None


async def _explain(device: AskedDevice, text: str) -> dict[str, Any]:
    options = parse_options(text)
    situation = await device.situation()
    return explanation_document(explain(options, situation), situation)


def _device(devices: Sequence[AskedDevice], lun: str) -> AskedDevice:
    for device in devices:
        if lun in (device.name, device.snapshot().wwid):
            return device
    raise MpioError("not served by this daemon", lun=lun, hint="'mpio-fuse status' shows what is")
