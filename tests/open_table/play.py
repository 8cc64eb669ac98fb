"""Plays one line of the table: two hosts find the disk, bring the state about, and one of them opens it."""

import errno
from collections.abc import Iterable
from typing import Protocol, Self

import attrs
from structlog.testing import capture_logs

from mpio_fuse.device.probe import probe
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.errors import MpioError
from mpio_fuse.reserve.option_words import parse_options
from mpio_fuse.reserve.situation import OUR_TYPE
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.transport.contract import Transport
from tests.device.world import KEYS
from tests.open_table.recording import RecordingTransport, Sent, in_lines
from tests.open_table.row import Case, Row
from tests.open_table.states import STATES


@attrs.frozen
class Registered:
    """What the array has, as a witness with a nexus of its own reads it: ``a1``, ``a2``, ``b1``, ..."""

    nexuses: tuple[str, ...]
    holder: str

    @classmethod
    def of(cls, found: Iterable[tuple[str, ReservationKey, str | None]]) -> Self:
        """From each nexus with its key, and the reservation's type if it holds one; what is foreign is said."""
        types = {
            name if key == KEYS[name[0]] else f"{name} under {key}": held
            for name, key, held in found
        }
        holders = [
            name if held == OUR_TYPE.title else f"{name}, {held}"
            for name, held in types.items()
            if held is not None
        ]
        return cls(tuple(sorted(types)), "; ".join(holders))


class Stage(Protocol):
    """An array that nobody uses, and the ways to it."""

    async def transport(self, nexus: str) -> Transport:
        """The way of ``a1``, ``a2``, ``b1``, ..."""
        ...

    async def cut(self, nexus: str) -> None:
        """Have it carry nothing any more."""
        ...

    async def witness(self) -> Registered: ...


@attrs.define
class _Host:
    """A `Player` on a stage."""

    stage: Stage
    name: str
    device: PseudoDevice
    log: list[Sent]

    async def cut(self, index: int) -> None:
        await self.stage.cut(self.device.underpaths[index].name)


async def _host(stage: Stage, name: str, underpaths: int) -> _Host:
    log: list[Sent] = []
    transports = [
        RecordingTransport(await stage.transport(nexus), nexus, log)
        for nexus in (f"{name}{place}" for place in range(1, underpaths + 1))
    ]
    logical_unit = await probe(transports[0], timeout_s=10)
    device = PseudoDevice(logical_unit, transports, Settings(key=KEYS[name]), name="disk")
    await device.configure()
    return _Host(stage, name, device, log)


async def play(case: Case, stage: Stage) -> Row:
    """Bring the state about on a fresh stage, open, and tell what came of it."""
    with (
        capture_logs() as told
    ):  # also of underpaths that go down, which is the devices' tests' matter
        a, b = [await _host(stage, name, case.underpaths) for name in KEYS]
        await STATES[case.state](a, b)
        a.log.clear()
        told.clear()
        result = await _open(a.device, case.option)
    commands = in_lines(a.log)
    seen = await stage.witness()
    after = a.device.snapshot()
    return Row(
        case=case,
        boxes=tuple(f"{one['box']} {one['outcome']}" for one in told if one["event"] == "box"),
        commands=commands,
        result=result,
        reserved=next((i for i, one in enumerate(after.underpaths) if one.is_holder), -1),
        retain=after.retention is not None,
        registered=seen.nexuses,
        holder=seen.holder,
    )


async def _open(device: PseudoDevice, option: str) -> str:
    try:
        await device.open(parse_options(option))
    except MpioError as error:
        return f"{errno.errorcode[error.errno]}: {error}"
    return "opened"
