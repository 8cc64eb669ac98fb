"""What a lab can contain: LUNs, hosts, and the underpaths between them.  Descriptions and reports, no actions."""

import json
from enum import StrEnum
from typing import Any, Self

from attrs import asdict, evolve, field, frozen, validators

MIB = 1 << 20
TARGET_NAME = "iqn.2000-01.example.mpio-fuse:array"
MAX_HOSTS = 26


class FabricKind(StrEnum):
    """What carries commands from a host to the LUNs, and who answers them."""

    ISCSI = "iscsi"
    """LIO behind iSCSI on loopback addresses, one target portal group a network.  Does everything."""
    LOOP = "loop"
    """LIO behind tcm_loop, one loopback target a nexus.  Quickest; PREEMPT AND ABORT deadlocks the guest's kernel."""
    TGT = "tgt"
    """tgtd behind iSCSI: another opinion on persistent reservations, without PREEMPT AND ABORT and READ FULL STATUS."""
    SCSI_DEBUG = "scsi_debug"
    """The kernel's simulated disk: no persistent reservations at all, and faults on request."""


@frozen
class LunSpec:
    """A shared disk.  ``number`` is never 0: LIO answers READ for an unmapped LUN 0 with GOOD and wrong data."""

    number: int = field(validator=validators.ge(1))
    size_bytes: int = field(default=64 * MIB, validator=validators.ge(MIB))
    block_size_bytes: int = field(default=512, validator=validators.in_((512, 4096)))

    @property
    def name(self) -> str:
        """Its name in the target's configuration."""
        return f"lun{self.number}"

    @property
    def serial(self) -> str:
        """Its unit serial number.  LIO makes the NAA identifier of its first 25 digits."""
        return f"{self.number:08x}-5eed-4000-8000-000000000000"


@frozen
class Fabric:
    """A lab's storage network: every host reaches every LUN over each of its underpaths.

    Equal descriptions can share one guest.
    """

    kind: FabricKind = field(default=FabricKind.ISCSI, converter=FabricKind)
    hosts: int = field(default=2, validator=[validators.ge(1), validators.le(MAX_HOSTS)])
    underpaths: int = field(default=2, validator=[validators.ge(1), validators.le(200)])
    luns: tuple[LunSpec, ...] = field(default=(LunSpec(1),), validator=validators.min_len(1))

    @classmethod
    def of(
        cls,
        *,
        kind: str = "iscsi",
        hosts: int = 2,
        underpaths: int = 2,
        luns: int = 1,
        size_bytes: int = 64 * MIB,
        block_size_bytes: int = 512,
    ) -> Self:
        """Describe a fabric of ``luns`` equal LUNs, numbered from 1."""
        specs = tuple(
            LunSpec(number, size_bytes, block_size_bytes) for number in range(1, luns + 1)
        )
        return cls(kind=FabricKind(kind), hosts=hosts, underpaths=underpaths, luns=specs)

    @property
    def host_names(self) -> list[str]:
        """Give "a", "b", ..."""
        return [chr(ord("a") + index) for index in range(self.hosts)]

    def to_json(self) -> str:
        """Encode, for the program that builds it in the guest."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Decode what ``to_json`` gave."""
        fields = json.loads(text)
        return cls(**{**fields, "luns": tuple(LunSpec(**lun) for lun in fields["luns"])})


@frozen
class Node:
    """One underpath as its host's kernel shows it."""

    host: str
    underpath: int
    """Counted from 0; the network, where there is one."""
    lun: int
    sg: str
    """"/dev/sg3"; which number a node gets is chance."""
    block: str
    """"/dev/sdb"."""
    hctl: str
    """SCSI host:channel:target:lun."""
    transport: str
    initiator: str
    """The iSCSI name or loopback nexus of the initiator; "" where the kernel knows none."""
    portal: str
    """"127.0.0.1:3260"; "" without a network."""


@frozen
class FabricReport:
    """A fabric as built: its nodes by host, then LUN, then underpath."""

    fabric: Fabric
    nodes: tuple[Node, ...]

    def select(self, host: str | None = None, lun: int | None = None) -> list[Node]:
        """Give the nodes of one host, of one LUN, or of both."""
        return [
            node for node in self.nodes if host in (None, node.host) and lun in (None, node.lun)
        ]

    def addresses_by_lun(self) -> list[str]:
        """Give each LUN's addresses (H:C:T:L), as guest_reset.sh wants them."""
        return [
            " ".join(node.hctl for node in self.select(lun=spec.number))
            for spec in self.fabric.luns
        ]

    def renamed_by(self, text: str) -> Self:
        """Give the report with the node names of guest_reset.sh's answer: lines of H:C:T:L, sg node, block device."""
        names = {hctl: (sg, block) for hctl, sg, block in map(str.split, text.splitlines())}
        new = [(node, *names[node.hctl]) for node in self.nodes]
        return evolve(
            self, nodes=tuple(evolve(node, sg=sg, block=block) for node, sg, block in new)
        )

    def environment(self) -> dict[str, str]:
        """Give shell variables: A_NODES, B_NODES, ... with the sg nodes of each host."""
        return {
            f"{host.upper()}_NODES": " ".join(node.sg for node in self.select(host))
            for host in self.fabric.host_names
        }

    def to_json(self) -> str:
        """Encode, one node a line."""
        nodes = ",\n  ".join(json.dumps(asdict(node)) for node in self.nodes)
        return f'{{"fabric": {self.fabric.to_json()},\n "nodes": [\n  {nodes}]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Decode what ``to_json`` gave."""
        document: dict[str, Any] = json.loads(text)
        fabric = Fabric.from_json(json.dumps(document["fabric"]))
        return cls(fabric, tuple(Node(**node) for node in document["nodes"]))
