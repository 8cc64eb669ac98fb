"""What one ``mpio-fuse discover`` found: discovery's answer, and what each target says of reservations."""

from collections.abc import Sequence

import attrs
import trio

from mpio_fuse.daemon.mountpoint_of import mountpoint_of
from mpio_fuse.device.discovered import DiscoveredLun, Discovery
from mpio_fuse.device.discovery import discover
from mpio_fuse.device.host import ThisHost
from mpio_fuse.device.reserve_facts import ReserveFacts, read_reserve_facts

ANSWER_TIMEOUT_S = 5.0


@attrs.frozen
class LunReport:
    """A LUN with what its target says of persistent reservations; None if it has none."""

    lun: DiscoveredLun
    facts: ReserveFacts | None


@attrs.frozen
class Report:
    """What one run of the command found; the transports are closed."""

    luns: tuple[LunReport, ...]
    discovery: Discovery


async def look(devices: Sequence[str]) -> Report:
    """Discover, and ask each LUN's target about reservations."""
    async with await discover(devices, host=ThisHost(mountpoint_of=mountpoint_of)) as discovery:
        facts: dict[str, ReserveFacts] = {}
        async with trio.open_nursery() as nursery:
            for lun in discovery.luns:
                if lun.logical_unit.has_persistent_reserve:
                    nursery.start_soon(_ask, lun, facts)
        reports = (LunReport(lun, facts.get(str(lun.wwid))) for lun in discovery.luns)
        return Report(tuple(reports), discovery)


async def _ask(lun: DiscoveredLun, into: dict[str, ReserveFacts]) -> None:
    transport = lun.underpaths[0].transport
    into[str(lun.wwid)] = await read_reserve_facts(transport, timeout_s=ANSWER_TIMEOUT_S)
