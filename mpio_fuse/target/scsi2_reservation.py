"""RESERVE(6) and RELEASE(6) (SPC-2 7.21, 7.17), their 10-byte forms, and how they get on with persistent reservations.

SPC-2 5.5.1: they and persistent reservations exclude each other.  SPC-4 5.13.3 (compatible reservation handling)
softens that: for whom a persistent reservation lets in anyway, both are GOOD and do nothing.
"""

import attrs

from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.target.access import OtherOpCode, command_key
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import Quirks, Scsi2
from mpio_fuse.target.refusal import RESERVATION_CONFLICT, Refusal
from mpio_fuse.target.registrations import Registrations

_PERSISTENT = {OpCode.PERSISTENT_RESERVE_IN, OpCode.PERSISTENT_RESERVE_OUT}
_ALWAYS = {OpCode.INQUIRY, OpCode.RELEASE_6, OtherOpCode.RELEASE_10}


@attrs.define(eq=False)
class Scsi2Reservation:
    """At most one nexus has the logical unit reserved; a reset, a power loss or its own end frees it."""

    quirks: Quirks
    owner: Nexus | None = None

    def reserve(self, nexus: Nexus, persistent: Registrations) -> None:
        if self._does_nothing(nexus, persistent):
            return
        if self.owner not in {None, nexus}:
            raise Refusal(RESERVATION_CONFLICT)
        self.owner = nexus

    def release(self, nexus: Nexus, persistent: Registrations) -> None:
        """GOOD from anybody (SPC-2 7.17); it frees what is this nexus's."""
        if not self._does_nothing(nexus, persistent) and self.owner == nexus:
            self.owner = None

    def refuses(self, nexus: Nexus, cdb: bytes) -> bool:
        """Whether the command conflicts with somebody's RESERVE(6)."""
        opcode = cdb[0]
        if self.owner is None or opcode in _ALWAYS:
            return False
        if opcode in _PERSISTENT:
            return self.quirks.scsi2 is not Scsi2.BESIDE
        key = command_key(cdb)
        is_concerned = key in self.quirks.conflicts and key not in self.quirks.passes_scsi2
        return self.owner != nexus and is_concerned

    def _does_nothing(self, nexus: Nexus, persistent: Registrations) -> bool:
        """Whether RESERVE and RELEASE are GOOD and no more.

        Raises:
            Refusal: persistent registrations are there, and they conflict.
        """
        if self.quirks.scsi2 is Scsi2.IGNORED:
            return True
        if self.quirks.scsi2 is Scsi2.BESIDE or not persistent.registered:
            return False
        if self._is_let_in(nexus, persistent):
            return True
        raise Refusal(RESERVATION_CONFLICT)

    def _is_let_in(self, nexus: Nexus, persistent: Registrations) -> bool:
        """5.13.3: the holder, or any registrant under a type of registrants."""
        registration = persistent.of(nexus)
        if registration is None or persistent.type is None:
            return False
        if self.quirks.scsi2 is Scsi2.COMPATIBLE_FOR_HOLDER:
            return registration is persistent.holder
        for_registrants = persistent.type.is_registrants_only or persistent.type.is_all_registrants
        is_compatible = self.quirks.scsi2 is Scsi2.COMPATIBLE
        return is_compatible and (for_registrants or persistent.is_holder(registration))
