"""The cases: which fault, for how long, and what a program may notice of it."""

from collections.abc import Callable
from enum import Enum
from typing import Self

import attrs

from tests.lab.fabric import FabricKind
from tests.reliability import faults, restart, store
from tests.reliability.faults import Fault, Nothing, Place
from tests.reliability.systems import SystemName

SHORT_S = 2.0


class Lun(Enum):
    """The LUN a case is about."""

    FABRIC = "the fabric's"
    MAPPED = "one on a device-mapper mapping"


@attrs.frozen
class Case:
    """One fault.

    ``after_s``: how long underpaths have to come back.  ``meanwhile`` strikes with the fault, and is lifted only when
    all has been measured.  ``may_see`` are the errors that writer and reader may be told, ``bad_reader_sees`` that of
    reading the bad sector.  ``is_opened_meanwhile``: some other program opens and closes the file all the time.
    ``option``: of the opens.  ``cannot_run_on``: systems for which it means nothing.
    """

    name: str
    what: str
    fault: Callable[[Place], Fault]
    meanwhile: Callable[[Place], Fault] = lambda _: Nothing()
    before_s: float = 2.0
    lost_s: float = 8.0
    after_s: float = 25.0
    kind: FabricKind = FabricKind.ISCSI
    lun: Lun = Lun.FABRIC
    option: str = ""
    configuration: str = ""
    may_see: frozenset[str] = frozenset()
    bad_reader_sees: str | None = None
    is_opened_meanwhile: bool = False
    cannot_run_on: frozenset[SystemName] = frozenset()

    def shortened(self) -> Self:
        """The same for a test: that it works, not for how long it stalls."""
        lost_s, after_s = min(self.lost_s, SHORT_S), min(self.after_s, SHORT_S)
        return attrs.evolve(self, lost_s=lost_s, after_s=after_s, before_s=SHORT_S / 2)


def _disabled(place: Place) -> Fault:
    return faults.portal_group_disabled(place.struck)


def _other_disabled(place: Place) -> Fault:
    return faults.portal_group_disabled(place.spared)


CASES = (
    Case("none", "no fault", lambda _: Nothing(), lost_s=2),
    Case(
        "device-offline",
        "device state `offline`, then `running`",
        lambda place: faults.device_offline(place.struck),
    ),
    Case("node-deleted", "node deleted, and found by a rescan", faults.NodeDeleted),
    Case("portal-group-2s", "target portal group disabled for 2 s", _disabled, lost_s=2),
    Case("portal-group-8s", "target portal group disabled for 8 s", _disabled),
    Case("logged-out", "iSCSI session logged out, and in again", faults.LoggedOut),
    Case(
        "connection-killed",
        "iSCSI session's connection shut; iscsid makes another",
        faults.ConnectionKilled,
    ),
    Case(
        "portal-blocked",
        "port blocked: all packets of the portal lost, for 12 s",
        lambda place: faults.PortalBlocked(place.struck),
        lost_s=12,
    ),
    Case(
        "opened-meanwhile",
        "the same, while another program opens and closes the file",
        lambda place: faults.PortalBlocked(place.struck),
        lost_s=12,
        is_opened_meanwhile=True,
    ),
    Case(
        "lun-reset",
        "LOGICAL UNIT RESET by somebody else",
        lambda place: faults.LunReset(place.spared),
        lost_s=4,
    ),
    Case(
        "slow-store",
        "backing store takes 3 s for everything (dm-delay)",
        lambda _: store.SlowStore(3.0, 3.0),
        lun=Lun.MAPPED,
    ),
    Case(
        "bad-sector",
        "a bad sector below LIO (dm-dust), which reports it as 2/08/00",
        lambda _: store.BadSector(),
        lun=Lun.MAPPED,
        bad_reader_sees="EIO",
    ),
    Case(
        "target-restarted",
        "target gone for 2 s, back without its registrations",
        lambda place: restart.TargetRestarted(place, keeps_registrations=False),
        lost_s=2,
        # That the disk is still ours cannot be proven then (docs/design.md, 2.8).
        may_see=frozenset({"EBADE"}),
    ),
    Case(
        "target-restarted-aptpl",
        "target gone for 2 s, back with its registrations (APTPL)",
        lambda place: restart.TargetRestarted(place, keeps_registrations=True),
        lost_s=2,
        configuration="aptpl = true\n",
        cannot_run_on=frozenset({SystemName.DM_MULTIPATH}),
    ),
    Case(
        "all-lost",
        "both underpaths lost for 10 s, then one is back",
        _other_disabled,
        lost_s=10,
        after_s=14,
        meanwhile=_disabled,
    ),
    Case(
        "loop-transport-offline",
        "tcm_loop's transport `offline`, NO_RESERVE",
        lambda place: faults.loop_transport_offline(place.struck),
        kind=FabricKind.LOOP,
        option="no-reserve",
    ),
    Case(
        "medium-error",
        "a bad sector, reported as 3/11/00 (scsi_debug, single path)",
        lambda _: store.SimulatedMediumError(),
        kind=FabricKind.SCSI_DEBUG,
        after_s=8,
        bad_reader_sees="EIO",
    ),
)
