"""All that one logical unit knows, as the commands see it."""

import attrs

from mpio_fuse.scsi.wire import Fields
from mpio_fuse.target.identity import Identity
from mpio_fuse.target.medium import Kind, Medium, MediumAccess
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.port_groups import PortGroups
from mpio_fuse.target.preempt import Preempted
from mpio_fuse.target.quirks import Quirks
from mpio_fuse.target.registrations import Registrations
from mpio_fuse.target.scsi2_reservation import Scsi2Reservation
from mpio_fuse.target.unit_attentions import UnitAttentions


@attrs.define(eq=False)
class Request:
    """One command as it arrived.  ``cdb`` raises `DecodeError` where it is too short."""

    nexus: Nexus
    cdb: Fields
    data_out: bytes
    arrived: int
    preempted: Preempted | None = None
    """Set by PREEMPT AND ABORT: whose commands it is to abort."""


@attrs.define(eq=False)
class State:
    """``step`` counts what has happened: every arrival and every execution is one step."""

    quirks: Quirks
    identity: Identity
    medium: Medium
    attentions: UnitAttentions
    persistent: Registrations
    scsi2: Scsi2Reservation
    port_groups: PortGroups = attrs.Factory(PortGroups)
    step: int = 0

    def next_step(self) -> int:
        self.step += 1
        return self.step

    def record(self, request: Request, kind: Kind, lba: int, data: bytes) -> None:
        """Write an access into the medium's history."""
        blocks = len(data) // self.medium.block_size_bytes
        access = MediumAccess(self.step, request.arrived, request.nexus, kind, lba, blocks, data)
        self.medium.history.append(access)


def new_state(quirks: Quirks, identity: Identity, medium: Medium) -> State:
    """A logical unit that nobody has spoken to yet."""
    attentions = UnitAttentions(
        quirks.one_report_clears_all, quirks.repeats_attentions, quirks.attentions_by_priority
    )
    persistent = Registrations(quirks, attentions)
    return State(quirks, identity, medium, attentions, persistent, Scsi2Reservation(quirks))
