"""The hosts of a schedule: daemons that live, die and come again, with the real device layer in each.

A daemon's *life* has its own transports, pseudo device, watch and tasks.  Killing it makes its transports vanish, so
that nothing more is sent whatever its tasks still do, and cancels the tasks; what it had sent travels on, as it does in
the kernel's hands when a process dies, and the next life's transport of the same session counts it, as one on sg does.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Literal, cast

import attrs
import trio

from mpio_fuse.device.handle import Handle
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi.command import Command, Completion, Status
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.scsi.reservation_key import ZERO_KEY
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.verdict import sense_of
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.transport.contract import OnEnd, Started
from mpio_fuse.transport.simulated import SimulatedTransport, StartingSimulatedTransport
from mpio_fuse.transport.simulated_link import Link
from tests.schedules.array import KEYS, TARGET_CHANGED, ArrayUnit, SentCdb, initiator
from tests.schedules.chronicle import Chronicle, FencedHost, Kind, LifeEnded, Sent, Warned
from tests.schedules.schedule import HostSetup

if TYPE_CHECKING:
    from tests.schedules.world import World

IO_TIMEOUT_S = 2.0
CONTROL_TIMEOUT_S = 1.0
MOUNT_AGAIN_S = 5.0
DATA = frozenset(
    (
        OpCode.READ_10,
        OpCode.READ_16,
        OpCode.WRITE_10,
        OpCode.WRITE_16,
        OpCode.SYNCHRONIZE_CACHE_10,
        OpCode.SYNCHRONIZE_CACHE_16,
    )
)
_REGISTERS = (PrOut.REGISTER, PrOut.REGISTER_AND_IGNORE_EXISTING_KEY)
_WARNINGS = (Status.RESERVATION_CONFLICT, Status.CHECK_CONDITION)
_ZERO_KEY = ZERO_KEY.raw


@attrs.define(eq=False)
class Opened:
    """What sits in one of a host's slots; ``handle`` None while the open is under way."""

    number: int
    handle: Handle | None = None
    is_shared: bool = False
    uses: int = 0
    is_unused: trio.Event = attrs.Factory(trio.Event)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """A file is released only when no request on it is under way any more; the kernel sees to that."""
        self.uses += 1
        self.is_unused = trio.Event()
        try:
            yield
        finally:
            self.uses -= 1
            if not self.uses:
                self.is_unused.set()


class WatchedTransport(SimulatedTransport):
    """Writes down every data command, and knows by itself whether its nexus has been told that it is registered."""

    def __init__(self, life: "Life", port: "Port") -> None:
        self._life = life
        self._port = port
        self.told_registered = False
        super().__init__(
            life.host.world.unit,
            port.nexus,
            name=port.name,
            max_in_flight=life.host.world.setup.max_in_flight,
            link=port.link,
        )

    async def execute(self, command: Command) -> Completion:
        operation = command.cdb[0]
        if operation in DATA and not self._life.is_over:
            command = self._told_of(command)
        if operation != OpCode.PERSISTENT_RESERVE_OUT:
            return self._heard(await super().execute(command))
        action, action_key = command.cdb[1] & 0x1F, bytes(command.data_out[8:16])
        if action in _REGISTERS:
            self.told_registered = False
        completion = self._heard(await super().execute(command))
        if not completion.is_good:
            return completion
        if action in _REGISTERS:
            self.told_registered = action_key != _ZERO_KEY
        elif action == PrOut.PREEMPT_AND_ABORT and action_key == self._life.key:
            for other in self._life.transports:
                other.told_registered = other is self
        return completion

    def _told_of(self, command: Command) -> Command:
        underpath = next(one for one in self._life.device.underpaths if one.transport is self)
        sent = self._chronicle.add(
            Sent,
            host=self._life.host.name,
            life=self._life.number,
            port=self._port.number,
            name=command.name,
            registered=underpath.registered,
            told=self.told_registered,
        )
        cdb = SentCdb(command.cdb)
        cdb.sent_tick = sent.tick
        return attrs.evolve(command, cdb=cdb)

    def _heard(self, completion: Completion) -> Completion:
        """Note what it says of registrations, of the reservation, or of another disk."""
        if completion.status in _WARNINGS and not self._life.is_over:
            is_conflict = completion.status == Status.RESERVATION_CONFLICT
            sense = sense_of(completion)
            if is_conflict or (sense is not None and sense.key is SenseKey.UNIT_ATTENTION):
                self._chronicle.add(
                    Warned,
                    host=self._life.host.name,
                    port=self._port.number,
                    is_conflict=is_conflict,
                )
        return completion

    @property
    def _chronicle(self) -> Chronicle:
        return self._life.host.world.chronicle


class StartingWatchedTransport(WatchedTransport, StartingSimulatedTransport):
    """One that also starts commands; data commands alone are started."""

    def start(self, command: Command, on_end: OnEnd) -> Started | None:
        if not self._has_room:
            return None

        def end(how: Completion | Exception) -> None:
            if isinstance(how, Completion):
                self._heard(how)
            on_end(how)

        assert command.cdb[0] in DATA
        return super().start(command if self._life.is_over else self._told_of(command), end)


@attrs.define(eq=False)
class Port:
    """One underpath of a host, whichever daemon uses it.  ``unit``: another disk than the shared one."""

    number: int
    name: str
    nexus: Nexus
    link: Link
    latency_s: float
    unit: ArrayUnit | None = None
    is_clone: bool = False
    """The other disk has the same identity."""

    is_vanished: bool = False
    transports: list[WatchedTransport] = attrs.Factory(list)
    """Of all lives: what an old one sent may still be on its way."""

    def calm(self) -> None:
        """No fault, and the latency that it always has."""
        self.link.heal()
        self.link.times_out = True
        self.link.arrival_s = self.link.answer_s = self.latency_s

    def log_in_again(self, isid: str | None = None) -> None:
        """A new session: the old one's commands die.  One with another disk is told so by its first command."""
        if not self.transports:
            return
        self.nexus = self.transports[-1].log_in_again(isid)
        for transport in self.transports:
            transport.nexus = self.nexus
        if self.unit is not None:
            self.unit.attend(self.nexus, TARGET_CHANGED)


class Life:
    """One daemon, from its start to its death."""

    def __init__(self, host: "SimHost", number: int) -> None:
        self.host = host
        self.number = number
        self.key = KEYS[host.name].raw
        self.is_over = False
        self.is_mounted = False
        self.slots: dict[int, Opened] = {}
        self.nursery: trio.Nursery | None = None
        self.transports: list[WatchedTransport] = []
        kind = StartingWatchedTransport if host.world.setup.starts else WatchedTransport
        for port in host.ports:
            if port.unit is not None:
                continue  # discovery would not take it for one of the disk's nodes
            transport = kind(self, port)
            for former in port.transports:
                transport.inherit(former)
            port.transports.append(transport)
            port.is_vanished = False
            self.transports.append(transport)
        self.device = PseudoDevice(
            host.world.logical_unit,
            self.transports,
            Settings(
                key=KEYS[host.name],
                io_timeout_s=IO_TIMEOUT_S,
                control_timeout_s=CONTROL_TIMEOUT_S,
                standby=cast("Literal['registered', 'unregistered']", host.setup.standby),
            ),
            name=f"disk-of-{host.name}",
            on_fenced=self._note_fenced,
            clock=trio.current_time,
        )

    async def live(self) -> None:
        """Mount, trying again while that fails, and serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            await self._mount()
            self.is_mounted = True
            await watch(self.device)

    async def _mount(self) -> None:
        while not await self.host.world.request(self, Kind.MOUNT, self.device.configure):  # noqa: ASYNC110 (as an administrator would)
            await trio.sleep(MOUNT_AGAIN_S)

    def start(self, do: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run a task of this daemon's."""
        if self.nursery is not None and not self.is_over:
            self.nursery.start_soon(do, *arguments)

    def end(self, *, is_crash: bool) -> None:
        """Nothing of it is sent any more, and its tasks go."""
        if self.is_over:
            return
        self.is_over = True
        world = self.host.world
        world.forget_requests_of(self)
        world.chronicle.add(LifeEnded, host=self.host.name, life=self.number, is_crash=is_crash)
        for transport in self.transports:
            transport.vanish()
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def _note_fenced(self) -> None:
        if not self.is_over:
            self.host.world.chronicle.add(FencedHost, host=self.host.name, life=self.number)


class SimHost:
    """A host: its underpaths, and the daemon that runs on it, if one does."""

    def __init__(self, world: "World", setup: HostSetup) -> None:
        self.world = world
        self.setup = setup
        self.name = setup.name
        self.lives = 0
        self.life: Life | None = None
        self.ports = [
            Port(
                number,
                f"{setup.name}{number}",
                Nexus(initiator(setup.name), number),
                Link(),
                latency_s,
            )
            for number, latency_s in enumerate(setup.latencies_s, 1)
        ]
        for port in self.ports:
            port.calm()

    def begin_life(self) -> None:
        """Start a daemon, unless one runs, or there is no node of the disk to serve it by."""
        if self.life is None and any(port.unit is None for port in self.ports):
            self.lives += 1
            self.life = Life(self, self.lives)
            self.world.nursery.start_soon(self.life.live)

    def crash(self, *, is_whole_host: bool) -> None:
        """Kill the daemon; with the host its sessions die too, and what was on its way with them."""
        if self.life is not None:
            life, self.life = self.life, None
            life.end(is_crash=True)
        if is_whole_host:
            for port in self.ports:
                port.log_in_again()

    async def unmount(self) -> str | None:
        """Unmount; what was left at the array, None when it failed for the daemon died meanwhile."""
        life = self.life
        if life is None:
            return None
        world = self.world
        life.is_mounted = False
        world.cut_off_requests_of(life)
        life.slots.clear()
        left = ""

        async def remove() -> None:
            nonlocal left
            try:
                await life.device.remove()
            except MpioError as error:
                left = str(error)
                raise

        await world.request(life, Kind.UNMOUNT, remove)
        if self.life is life:
            self.life = None
            life.end(is_crash=False)
        return left
