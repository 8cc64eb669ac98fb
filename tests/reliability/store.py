"""Runs in the guest: backing stores that can be made slow or bad, below a LUN of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.lab import sysfs
from tests.lab.fabric import Fabric
from tests.reliability.command import run
from tests.reliability.layout import BAD_SECTOR
from tests.transport.held_disk import MAPPING, NUMBER, held_disk

SCSI_DEBUG_OPTIONS = Path("/sys/bus/pseudo/drivers/scsi_debug/opts")


@contextmanager
def mapped_lun(fabric: Fabric) -> Iterator[int]:
    """While entered there is a LUN on a device-mapper mapping, whose number this gives."""
    with held_disk(fabric):
        yield NUMBER


@attrs.frozen
class SlowStore:
    """dm-delay: reads and writes take that long."""

    read_s: float
    write_s: float

    def strike(self) -> None:
        sysfs.load("dm-delay")
        device = _mapped()[3]
        reads, writes = (str(round(delay_s * 1000)) for delay_s in (self.read_s, self.write_s))
        _map_to("delay", reads, device, "0", writes)

    def lift(self) -> None:
        _map_to("linear")


@attrs.frozen
class BadSector:
    """dm-dust: one sector cannot be read, until it is written."""

    def strike(self) -> None:
        sysfs.load("dm-dust")
        _map_to("dust", "512")
        _dmsetup("message", MAPPING, "0", "addbadblock", str(BAD_SECTOR))
        _dmsetup("message", MAPPING, "0", "enable")

    def lift(self) -> None:
        _map_to("linear")


@attrs.frozen
class SimulatedMediumError:
    """scsi_debug's own bad sectors."""

    def strike(self) -> None:
        SCSI_DEBUG_OPTIONS.write_text("2")

    def lift(self) -> None:
        SCSI_DEBUG_OPTIONS.write_text("0")


def _map_to(kind: str, *more: str) -> None:
    """Replace what the mapping does; what is under way in the old one ends first."""
    start, sectors, _kind, device, *_ = _mapped()
    table = " ".join([start, sectors, kind, device, "0", *more])
    _dmsetup("reload", MAPPING, "--table", table)
    _dmsetup("suspend", "--nolockfs", MAPPING)
    _dmsetup("resume", MAPPING)


def _mapped() -> list[str]:
    """What the mapping does now: start, sectors, kind, the device below it, and more."""
    return run("dmsetup", "table", MAPPING).split()


def _dmsetup(*words: str) -> None:
    run("dmsetup", "--noudevsync", *words)
