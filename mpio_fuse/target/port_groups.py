"""Asymmetric access (SPC-4 5.15): what each target port is for the logical unit, and what it refuses therefore."""

from collections.abc import Iterable

from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.sense_codes import (
    ACCESS_STATE_TRANSITION,
    TARGET_PORT_STANDBY,
    TARGET_PORT_UNAVAILABLE,
    Code,
)
from mpio_fuse.scsi.target_port_groups import AccessState
from mpio_fuse.target.refusal import Refusal, check_condition

REFUSED_WITH: dict[AccessState, Code] = {
    AccessState.STANDBY: TARGET_PORT_STANDBY,
    AccessState.UNAVAILABLE: TARGET_PORT_UNAVAILABLE,
    AccessState.OFFLINE: TARGET_PORT_UNAVAILABLE,
    AccessState.TRANSITIONING: ACCESS_STATE_TRANSITION,
}

ALWAYS = frozenset(
    {OpCode.INQUIRY, OpCode.REPORT_LUNS, OpCode.REQUEST_SENSE, OpCode.MAINTENANCE_IN}
)
IN_STANDBY = ALWAYS | {
    OpCode.PERSISTENT_RESERVE_IN,
    OpCode.PERSISTENT_RESERVE_OUT,
    OpCode.SERVICE_ACTION_IN_16,
    OpCode.MODE_SENSE_6,
}
"""What LIO 6.1 answers through a port in standby (SPC-4 5.15.2.4.3); TEST UNIT READY is not among it."""

_SUPPORTED = 0x0F
"""U_SUP, S_SUP, AN_SUP and AO_SUP."""


class PortGroups:
    """One logical unit's: a group for each state, active/optimized unless told otherwise."""

    def __init__(self) -> None:
        self._states: dict[int, AccessState] = {}
        self._preferred: set[int] = set()

    def put(self, target_port: int, state: AccessState, *, is_preferred: bool) -> None:
        """The port is in that state now."""
        self._states[target_port] = state
        (self._preferred.add if is_preferred else self._preferred.discard)(target_port)

    def state_of(self, target_port: int) -> AccessState:
        return self._states.get(target_port, AccessState.ACTIVE_OPTIMIZED)

    def check(self, target_port: int, opcode: int) -> None:
        """Raises `Refusal` when a command may not come this way now."""
        state = self.state_of(target_port)
        code = REFUSED_WITH.get(state)
        if code is None or opcode in (IN_STANDBY if state is AccessState.STANDBY else ALWAYS):
            return
        raise Refusal(check_condition(SenseKey.NOT_READY, code))

    def report(self, ports: Iterable[int]) -> bytes:
        """REPORT TARGET PORT GROUPS parameter data, plain form (6.37)."""
        groups: dict[tuple[AccessState, bool], list[int]] = {}
        for port in sorted(ports):
            groups.setdefault((self.state_of(port), port in self._preferred), []).append(port)
        body = b"".join(
            bytes((is_preferred << 7 | state, _SUPPORTED, 0, number, 0, 0, 0, len(members)))
            + b"".join(bytes(2) + port.to_bytes(2, "big") for port in members)
            for number, ((state, is_preferred), members) in enumerate(sorted(groups.items()))
        )
        return len(body).to_bytes(4, "big") + body
