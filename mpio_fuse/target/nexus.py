"""The I_T nexus: who speaks to the logical unit, and through which of its ports (SAM-5 4.7).

A nexus is one session between an initiator port and a target port.  What an array remembers it by differs, and
so what survives a new session does too: `Basis` says by what a registration is found again.
"""

import enum
from collections.abc import Hashable

import attrs

from mpio_fuse.scsi.transport_id import TransportId, iscsi_transport_id


class Basis(enum.Enum):
    """What a registration belongs to, in this array's mind."""

    I_T_NEXUS = "initiator port and target port"
    """SPC-4 5.13.7, LIO: initiator name with ISID, and target port.  A new session with the same ISID is the same."""

    SESSION = "session"
    """tgt: a new login is a stranger, and the old registration stays listed with nobody behind it."""

    INITIATOR = "initiator"
    """Some arrays: one registration for the initiator, whatever port it comes through."""

    @property
    def is_lost_with_session(self) -> bool:
        return self is Basis.SESSION


@attrs.frozen
class Nexus:
    """One session.  ``target_port`` is the relative target port identifier; ``login`` counts the sessions."""

    initiator_name: str
    target_port: int
    isid: str = "00023d000001"
    login: int = 0

    def logged_in_again(self, isid: str | None = None) -> "Nexus":
        """The nexus of a new session after this one; without ``isid`` its initiator port is the same."""
        return attrs.evolve(self, isid=self.isid if isid is None else isid, login=self.login + 1)

    def identity(self, basis: Basis) -> Hashable:
        """What registrations made over this nexus are found by."""
        if basis is Basis.INITIATOR:
            return self.initiator_name
        port = (self.initiator_name, self.isid, self.target_port)
        return (*port, self.login) if basis is Basis.SESSION else port

    @property
    def transport_id(self) -> TransportId:
        """The initiator port's TransportID, as READ FULL STATUS reports it."""
        return iscsi_transport_id(self.initiator_name, self.isid)

    def __str__(self) -> str:
        return f"{self.initiator_name}->{self.target_port}"
