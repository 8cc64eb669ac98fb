"""Runs in the guest: the kernel's target goes away with all it knows, and comes back with what was to last.

LIO keeps registrations in the backing store's object, and writes them to a file too while APTPL is on.  Reading that
file is left to whoever sets the target up: each registration is written, in the words of the file, into the new object
before it is offered to anybody.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import rtslib_fb as rtslib

from tests.lab import lio
from tests.lab.fabric import TARGET_NAME, Fabric
from tests.reliability.faults import Place

APTPL_FILES = tuple(directory / "aptpl_" for directory in lio.APTPL_DIRECTORIES)


@attrs.frozen
class TargetRestarted:
    """An array that loses power; ``keeps_registrations``: it was asked to, with APTPL."""

    place: Place
    keeps_registrations: bool

    def strike(self) -> None:
        _take_down()

    def lift(self) -> None:
        _set_up(self.place.fabric, keeps_registrations=self.keeps_registrations)


def _take_down() -> None:
    with _quiet():
        target = rtslib.Target(rtslib.FabricModule("iscsi"), TARGET_NAME, mode="lookup")
        for group in target.tpgs:
            group.enable = False
        target.delete()
        for disk in list(rtslib.RTSRoot().storage_objects):
            disk.delete()


def _set_up(fabric: Fabric, *, keeps_registrations: bool) -> None:
    with _quiet():
        disks = lio.make_disks(fabric)
        if keeps_registrations:
            for spec in fabric.luns:
                _restore(Path(disks[spec.number].path), spec.serial)
        lio.offer_iscsi(fabric, disks)


def _restore(disk: Path, serial: str) -> None:
    (file,) = (found for name in APTPL_FILES if (found := Path(f"{name}{serial}")).exists())
    for registration in registrations_in(file.read_text()):
        (disk / "pr" / "res_aptpl_metadata").write_text(registration)


def registrations_in(text: str) -> list[str]:
    """LIO's file as it wants it back: one text a registration, the lines joined by commas."""
    found = []
    for part in text.split("PR_REG_START:")[1:]:
        _number, *lines = part.split("PR_REG_END:")[0].strip().splitlines()
        found.append(",".join(lines) + "\n")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # rtslib asks pyudev in a way that pyudev has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
