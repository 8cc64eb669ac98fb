"""The array of a schedule: the model of a logical unit, which writes into the chronicle what it does."""

from collections.abc import Collection

from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.sense_codes import Code
from mpio_fuse.scsi.wire import Fields
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind, Medium, MediumAccess
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import Quirks
from mpio_fuse.target.registrations import attention_port
from mpio_fuse.target.task import Task
from tests.schedules.chronicle import Asked, Chronicle, Landed, PowerLost, ReserveOut
from tests.schedules.stamps import (
    BLOCK_BYTES,
    CELLS,
    CELLS_PER_BLOCK,
    OTHER_DISK,
    stamped,
    stamps_of,
)

BLOCKS = 64
TARGET_CHANGED = (0x3F, 0x0E)
TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
KEYS = {name: ReservationKey.from_int(0x5EED_0000_0000_0000 + ord(name)) for name in "abcx"}
"""Each host's reservation key; ``x`` is no host of ours."""

_NAMES = {key: name for name, key in KEYS.items()}


def initiator(host: str) -> str:
    """The host's initiator name."""
    return f"iqn.host-{host}"


def host_of(nexus: Nexus) -> str:
    """Whose nexus that is."""
    return nexus.initiator_name[-1]


class SentCdb(bytes):
    """A CDB that knows when it was sent, as long as nobody copies it."""

    sent_tick: int = -1


class _History(list[MediumAccess]):
    """The medium's history, which tells of every write at once: also of those that an abort lets finish."""

    def __init__(self, unit: "ArrayUnit") -> None:
        super().__init__()
        self._unit = unit

    def append(self, access: MediumAccess) -> None:
        super().append(access)
        if access.kind is Kind.WRITE or self._unit.is_other_disk:
            self._unit.landed(access)


class _SteadyMedium(Medium):
    """A medium that can be asked what a power loss would leave."""

    def stable(self, lba: int, blocks: int) -> bytes:
        zeros = bytes(self.block_size_bytes)
        return b"".join(self._stable.get(at, zeros) for at in range(lba, lba + blocks))


class ArrayUnit(LogicalUnitModel):
    """The shared disk; with ``is_other_disk`` one that happens to sit behind a node, where nothing may be accessed."""

    def __init__(
        self,
        chronicle: Chronicle,
        quirks: Quirks,
        *,
        has_volatile_cache: bool = False,
        serial: str = "5eed0001",
        block_size_bytes: int = BLOCK_BYTES,
        blocks: int = BLOCKS,
        is_other_disk: bool = False,
    ) -> None:
        super().__init__(quirks, serial=serial, block_size_bytes=block_size_bytes, blocks=blocks)
        self.steady = _SteadyMedium(block_size_bytes, blocks, has_volatile_cache)
        self.steady.history = _History(self)
        self.state.medium = self.steady
        self.is_other_disk = is_other_disk
        self._chronicle = chronicle
        self._arrivals: dict[int, tuple[str, int]] = {}
        if is_other_disk:
            self.medium.write(0, stamped(OTHER_DISK, CELLS), fua=True)

    @property
    def held_by(self) -> str:
        """The host whose key holds the reservation."""
        holder = self.persistent.holder
        return "" if holder is None else _NAMES.get(holder.key, "?")

    @property
    def registered(self) -> tuple[str, ...]:
        """The hosts that have a registration, each as often as it has."""
        return tuple(_NAMES.get(one.key, "?") for one in self.persistent.registered)

    def registered_of(self, nexuses: Collection[Nexus]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The hosts of these nexuses' registrations, and those of registrations that belong to none of them."""
        sessions = {self.persistent.of(nexus) for nexus in nexuses}
        all_of_them = self.persistent.registered
        return (
            tuple(_NAMES.get(one.key, "?") for one in all_of_them if one in sessions),
            tuple(_NAMES.get(one.key, "?") for one in all_of_them if one not in sessions),
        )

    def on_medium(self) -> tuple[int, ...]:
        """The stamps that a power loss would leave."""
        return stamps_of(self.steady.stable(0, CELLS // CELLS_PER_BLOCK))

    def arrive(self, nexus: Nexus, cdb: bytes, data_out: bytes = b"") -> Task:
        task = super().arrive(nexus, cdb, data_out)
        if isinstance(cdb, SentCdb):
            self._arrivals[task.request.arrived] = (self.held_by, cdb.sent_tick)
        return task

    def perform(self, task: Task) -> None:
        operation = task.request.cdb.data[0]
        before = self.held_by
        super().perform(task)
        if task.answer is None or not task.answer.is_good or self.is_other_disk:
            return
        if operation == OpCode.PERSISTENT_RESERVE_OUT:
            self._tell_of_reserve_out(task, before)
        elif operation == OpCode.PERSISTENT_RESERVE_IN:
            self._chronicle.add(Asked, host=host_of(task.request.nexus))

    def landed(self, access: MediumAccess) -> None:
        """Write down what reached the medium."""
        held_by, sent = self._arrivals[access.arrived]
        self._chronicle.add(
            Landed,
            host=host_of(access.nexus),
            port=access.nexus.target_port,
            arrived=access.arrived,
            held_by=held_by,
            sent=sent,
            first_cell=access.lba * CELLS_PER_BLOCK,
            stamps=stamps_of(access.data),
            is_other_disk=self.is_other_disk,
        )

    def lose_power(self, *, announced: bool, keeps: bool) -> None:
        """Off and on again; ``keeps``: registrations and reservation come back, where the array can do that (APTPL)."""
        keeps = keeps and self.quirks.has_aptpl
        self.persistent.is_aptpl_active = keeps
        self.power_loss(announced=announced)
        self.persistent.is_aptpl_active = False
        self._chronicle.add(PowerLost, stamps=self.on_medium(), keeps=keeps)

    def attend(self, nexus: Nexus, code: Code) -> None:
        """A unit attention for that nexus."""
        self.state.attentions.establish(attention_port(nexus, self.quirks), code)

    def _tell_of_reserve_out(self, task: Task, before: str) -> None:
        request = task.request
        action_key = Fields("PERSISTENT RESERVE OUT", request.data_out).raw(8, 8)
        self._chronicle.add(
            ReserveOut,
            host=host_of(request.nexus),
            port=request.nexus.target_port,
            action=PrOut(request.cdb.data[1] & 0x1F).name,
            arrived=request.arrived,
            of_key=_NAMES.get(ReservationKey(action_key), ""),
            held_before=before,
            held_after=self.held_by,
            registered=self.registered,
        )
