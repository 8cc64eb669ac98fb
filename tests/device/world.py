"""A shared disk, simulated, and the hosts that see it: what the device tests play on."""

import attrs

from mpio_fuse.device.persistent_ownership import PersistentOwnership
from mpio_fuse.device.probe import probe
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.scsi import pr_in
from mpio_fuse.scsi.opcodes import OpCode, PrIn, PrOut
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.simulated import SimulatedTransport
from mpio_fuse.transport.simulated_link import Link

KEYS = {
    "a": ReservationKey.from_int(0xAAAA_0000_0000_0001),
    "b": ReservationKey.from_int(0xBBBB_0000_0000_0001),
}


@attrs.define
class Host:
    """One host's view: its links by number, its pseudo device."""

    name: str
    device: PseudoDevice
    links: list[Link]
    transports: list[SimulatedTransport]

    def nexus(self, index: int) -> Nexus:
        return self.transports[index].nexus

    async def cut(self, index: int) -> None:
        """Pull one cable."""
        self.links[index].go_down()


def ownership_of(host: Host) -> PersistentOwnership:
    """What speaks for the host's device with an array that has persistent reservations."""
    ownership = host.device._ownership  # noqa: SLF001 - tests look behind the device's back here alone
    assert isinstance(ownership, PersistentOwnership)
    return ownership


class World:
    """One simulated logical unit; hosts come to it with `host`, over transports of that kind."""

    def __init__(
        self,
        model: LogicalUnitModel | None = None,
        kind: type[SimulatedTransport] = SimulatedTransport,
    ) -> None:
        self.model = model or LogicalUnitModel()
        self._kind = kind
        self._witness = Nexus("iqn.witness", 9)

    async def host(
        self,
        name: str,
        underpaths: int = 2,
        is_down: tuple[int, ...] = (),
        rules: UnderpathRules | None = None,
        **settings: object,
    ) -> Host:
        """A host that has found the disk and registered; ``is_down``: ports it cannot reach.

        Unless told otherwise, nothing waits for an underpath.
        """
        settings["underpaths"] = rules or UnderpathRules(no_path_timeout_s=0)
        transports = [
            self._kind(self.model, Nexus(f"iqn.host-{name}", port), name=f"{name}{port}")
            for port in range(1, underpaths + 1)
        ]
        logical_unit = await probe(transports[0], timeout_s=10)
        device = PseudoDevice(
            logical_unit,
            transports,
            Settings(key=KEYS[name], **settings),  # type: ignore[arg-type]  # by keyword, checked by attrs
        )
        for port in is_down:
            transports[port - 1].link.go_down()
        host = Host(name, device, [one.link for one in transports], transports)
        await device.configure()
        self.model.log.clear()
        return host

    @property
    def holder(self) -> ReservationKey | None:
        """Who holds the reservation, by the array's own books."""
        return pr_in.decode_reservation(self._ask(pr_in.read_reservation().cdb)).holder

    @property
    def keys(self) -> list[ReservationKey]:
        """All registrations."""
        return list(pr_in.decode_keys(self._ask(pr_in.read_keys().cdb)).keys)

    @property
    def registrants(self) -> tuple[pr_in.Registrant, ...]:
        """All registrations with their nexuses, where the array tells."""
        return pr_in.decode_full_status(self._ask(pr_in.read_full_status().cdb)).registrants

    def sent(self, host: Host) -> list[str]:
        """The commands of that host that the array ended, as ``a1 RESERVE``, in order."""
        names = {one.nexus: one.name for one in host.transports}
        return [
            f"{names[entry.nexus]} {_verb(entry.cdb)}"
            for entry in self.model.log
            if entry.nexus in names
        ]

    def _ask(self, cdb: bytes) -> bytes:
        while not (answer := self.model.execute(self._witness, cdb)).is_good:
            pass  # unit attentions of the witness
        self.model.log[:] = [one for one in self.model.log if one.nexus != self._witness]
        return answer.data_in


def _verb(cdb: bytes) -> str:
    operation = OpCode(cdb[0])
    if operation is OpCode.PERSISTENT_RESERVE_OUT:
        return PrOut(cdb[1] & 0x1F).name
    if operation is OpCode.PERSISTENT_RESERVE_IN:
        return PrIn(cdb[1] & 0x1F).name
    return operation.name.removesuffix("_10").removesuffix("_16")


def stamp(text: str, blocks: int = 8) -> bytes:
    """Recognisable data of that many 512-byte blocks."""
    return (text.encode() + b"." * 512)[:512] * blocks
