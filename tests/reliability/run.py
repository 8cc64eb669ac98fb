"""Runs in the guest: one case on one system, from start to record."""

import contextlib
import mmap
import os
import time
from collections.abc import Iterator, Sequence

import attrs

from tests.lab import sysfs
from tests.lab.fabric import FabricKind, FabricReport, Node
from tests.lab.initiator import node_of
from tests.lab.inside import RESET_SCRIPT
from tests.reliability.cases import Case, Lun
from tests.reliability.command import CommandFailed, try_to_run, wait_for
from tests.reliability.faults import Fault, Place
from tests.reliability.figures import Seen, seen, wrong_at_the_end
from tests.reliability.layout import BLOCK_BYTES, STANDING, WRITTEN, Region
from tests.reliability.load import FioReport, Load
from tests.reliability.outcome import Outcome
from tests.reliability.store import mapped_lun
from tests.reliability.systems import SystemName, make_system, wait_until_all_in_service

STAY_S = 10.0
"""How long there is load after a fault was lifted, also when all is well at once."""
WHOLE_LIMIT_S = 30.0
SAID_LINES = 60


def nodes_now(report: FabricReport, lun: int, host: str = "a") -> list[Node]:
    """A host's nodes to a LUN as the kernel has them at the moment."""
    try:
        found = [disk for disk in sysfs.disks() if disk.lun == _lun_there(report, lun)]
        if report.fabric.kind is FabricKind.ISCSI:
            nodes = [node_of(disk) for disk in found]
        else:
            known = {node.hctl: node for node in report.select(host, lun)}
            nodes = [attrs.evolve(known[disk.hctl], sg=disk.sg, block=disk.block) for disk in found]
    except OSError:
        return []  # one went away while it was looked at
    return sorted((one for one in nodes if one.host == host), key=lambda one: one.underpath)


def _lun_there(report: FabricReport, lun: int) -> int:
    """scsi_debug counts from 0."""
    return lun - 1 if report.fabric.kind is FabricKind.SCSI_DEBUG else lun


def run_case(case: Case, system: SystemName, report: FabricReport) -> Outcome:
    """Run a case; whatever it did to the lab is undone."""
    with _lun_of(case, report) as lun:
        _make_whole(report, lun)
        return _run_on(case, system, report, lun)


@contextlib.contextmanager
def _lun_of(case: Case, report: FabricReport) -> Iterator[int]:
    if case.lun is Lun.FABRIC:
        yield 1
        return
    with mapped_lun(report.fabric) as lun:
        yield lun


def _make_whole(report: FabricReport, lun: int) -> None:
    """Wait until all of host a's underpaths answer; nothing of what was before is left at the array."""

    def reset() -> bool:
        nodes = nodes_now(report, lun)
        addresses = " ".join(node.hctl for node in nodes)
        is_whole = len(nodes) == report.fabric.underpaths
        return is_whole and try_to_run(str(RESET_SCRIPT), "luns", addresses)

    wait_for(reset, WHOLE_LIMIT_S, f"{report.fabric.underpaths} underpaths of host a that answer")


def _run_on(case: Case, name: SystemName, report: FabricReport, lun: int) -> Outcome:
    struck, spared = nodes_now(report, lun)
    place = Place(report.fabric, struck, spared, lambda: nodes_now(report, lun))
    system = make_system(name, case.option, case.configuration)
    file = system.start([struck, spared])
    left: list[str] = []
    try:
        load = Load(file, *_probe_options(case))
        try:
            with _striking(case, place) as moments:
                count = report.fabric.underpaths
                back_s = wait_until_all_in_service(system, count, case.after_s)
                _stay_until(moments.lifted_s + min(case.after_s, STAY_S))
                noted, fio = load.finish()
        finally:
            load.kill()
        said = system.said()[-SAID_LINES:]
    finally:
        try:
            system.stop()
        except CommandFailed as failure:
            left.append(str(failure))
    _make_whole(report, lun)
    blocks = _read_regions(nodes_now(report, lun)[1].block)
    wrong = [*noted["wrong"], *wrong_at_the_end(noted, blocks)]
    if fio.found_wrong_bytes:
        wrong.append(f"fio: {fio.said}")
    outcome = _outcome(case, name, moments.struck_s, noted, fio, wrong, back_s)
    return attrs.evolve(outcome, said=said, left=left)


def _probe_options(case: Case) -> Iterator[str]:
    if case.bad_reader_sees is not None:
        yield "--bad"
    if case.is_opened_meanwhile:
        yield "--open"


@contextlib.contextmanager
def _struck(fault: Fault) -> Iterator[None]:
    try:
        fault.strike()
        yield
    finally:
        fault.lift()


def _stay_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


@attrs.frozen
class Moments:
    """When a fault struck and when it was lifted, by the monotonic clock."""

    struck_s: float
    lifted_s: float


@contextlib.contextmanager
def _striking(case: Case, place: Place) -> Iterator[Moments]:
    """Strike and, when its time is over, lift the case's fault; the one meanwhile is lifted on leaving."""
    time.sleep(case.before_s)
    with _struck(case.meanwhile(place)):
        struck_s = time.monotonic()
        with _struck(case.fault(place)):
            _stay_until(struck_s + case.lost_s)
        yield Moments(struck_s, time.monotonic())


def _read_regions(block_device: str) -> dict[str, Sequence[bytes]]:
    """What is on the medium, by a node that was not struck, past page cache and system."""
    fd = os.open(block_device, os.O_RDONLY | os.O_DIRECT)
    try:
        return {region.name: _read_region(fd, region) for region in (WRITTEN, STANDING)}
    finally:
        os.close(fd)


def _read_region(fd: int, region: Region) -> list[bytes]:
    length_bytes = region.slots * BLOCK_BYTES
    with mmap.mmap(-1, length_bytes) as memory:
        if os.preadv(fd, [memory], region.offset_bytes) != length_bytes:
            raise OSError(f"a short read of {region.name}")
        return [memory[at : at + BLOCK_BYTES] for at in range(0, length_bytes, BLOCK_BYTES)]


def _outcome(
    case: Case,
    system: SystemName,
    struck_s: float,
    noted: dict[str, list[tuple[float, float, str | None]]],
    fio: FioReport,
    wrong: list[str],
    back_s: float | None,
) -> Outcome:
    def of(who: str) -> Seen | None:
        return seen(noted[who], struck_s) if noted.get(who) else None

    writer, reader = of("writer"), of("reader")
    assert writer is not None
    assert reader is not None
    return Outcome(
        case.name, system, writer, reader, of("bad"), of("opener"), fio.error, fio.operations, fio.longest_s,
        wrong, back_s,
    )  # fmt: skip
