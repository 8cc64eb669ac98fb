"""The initiator's end of a nexus: its node, and what the target knows it by."""

import attrs

from mpio_fuse.scsi.transport_id import (
    Protocol,
    TransportId,
    fixed_transport_id,
    iscsi_transport_id,
)
from mpio_fuse.target.nexus import Nexus
from tests.lab.fabric import FabricKind, FabricReport, Node

OPEN_ISCSI_ISID = "00023d{:06x}"
"""open-iscsi makes a session's ISID of its number."""

LUN = 1


@attrs.frozen
class End:
    """``who`` is A1, A2, B1, ...; ``session`` counts from 0."""

    who: str
    sg: str
    transport_id: TransportId
    target_port: int
    node: Node
    session: int = 0

    @property
    def port(self) -> tuple[bytes, int]:
        return self.transport_id.raw, self.target_port

    @property
    def name(self) -> str:
        return f"{self.who}'s session {self.session}"

    @property
    def nexus(self) -> Nexus:
        """The nexus that stands for this one in the model."""
        isid = f"00023d00{ord(self.who[0]):02x}{self.who[1]:0>2}"
        return Nexus(self.node.initiator or self.who, self.target_port, isid)


def ends_of(report: FabricReport) -> dict[str, End]:
    """The ends of a fabric's nexuses to its LUN, in the order of hosts and underpaths."""
    nodes = report.select(lun=LUN)
    is_loop = report.fabric.kind is FabricKind.LOOP
    found = [
        End(
            who=f"{node.host.upper()}{node.underpath + 1}",
            sg=node.sg,
            transport_id=_sas(node) if is_loop else iscsi_port(node, session_of(node)),
            target_port=number if is_loop else node.underpath + 1,
            node=node,
        )
        for number, node in enumerate(nodes, 1)
    ]
    return {end.who: end for end in found}


def session_of(node: Node) -> int:
    """The number of a node's session: open-iscsi's hosts are numbered from 0, its sessions from 1."""
    return int(node.hctl.split(":")[0]) + 1


def iscsi_port(node: Node, session: int) -> TransportId:
    return iscsi_transport_id(node.initiator, OPEN_ISCSI_ISID.format(session))


def _sas(node: Node) -> TransportId:
    return fixed_transport_id(Protocol.SAS, bytes.fromhex(node.initiator.removeprefix("naa.")))
