"""What goes wrong in a schedule: links, sessions, the array, other disks, and initiators that are none of ours."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Command, HostStatus, Status
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.target.refusal import RESERVATION_CONFLICT, Ending, check_condition
from tests.schedules.array import KEYS, TARGET_CHANGED, TYPE, ArrayUnit
from tests.schedules.chronicle import Swapped

if TYPE_CHECKING:
    from tests.schedules.hosts import Port
    from tests.schedules.world import World

_IN_TRANSITION = (0x04, 0x0A)
_UNREADABLE = (0x11, 0x00)


class Of(enum.Enum):
    """Which commands a loss strikes."""

    ANY = "any"
    WRITE = "write"
    RESERVE_IN = "reserve in"
    RESERVE_OUT = "reserve out"
    REGISTER = "register"
    PREEMPT = "preempt"
    RELEASE = "release"


def _is_action(*actions: PrOut) -> Callable[[Command], bool]:
    return lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT and one.cdb[1] & 0x1F in actions


_MATCHES: dict[Of, Callable[[Command], bool]] = {
    Of.ANY: lambda _: True,
    Of.WRITE: lambda one: one.cdb[0] in (OpCode.WRITE_10, OpCode.WRITE_16),
    Of.RESERVE_IN: lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_IN,
    Of.RESERVE_OUT: lambda one: one.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT,
    Of.REGISTER: _is_action(PrOut.REGISTER, PrOut.REGISTER_AND_IGNORE_EXISTING_KEY),
    Of.PREEMPT: _is_action(PrOut.PREEMPT, PrOut.PREEMPT_AND_ABORT),
    Of.RELEASE: _is_action(PrOut.RELEASE),
}


def _port(world: "World", host: str, number: int) -> "Port":
    return world.hosts[host].ports[number - 1]


def _leaves_clones_alone(
    world: "World", host: str, port: "Port", *, is_clone: bool = False
) -> bool:
    """Whether the host would see the disk's identity on other disks only: nobody could tell that from a resize."""
    others = [one for one in world.hosts[host].ports if one is not port]
    is_left = any(one.unit is None and not one.is_vanished for one in others)
    return not is_left and (is_clone or any(one.is_clone for one in others))


@attrs.frozen
class LinkDown:
    """A cable is pulled, and plugged in again later."""

    host: str
    port: int
    for_s: float

    def happen(self, world: "World") -> None:
        link = _port(world, self.host, self.port).link
        link.go_down()
        world.later(self.for_s, link.come_up)


@attrs.frozen
class Delay:
    """Commands sent from now on take longer; without ``times_out`` the layers below keep them until they are back."""

    host: str
    port: int
    stage: str
    delay_s: float
    for_s: float
    times_out: bool = False

    def happen(self, world: "World") -> None:
        port = _port(world, self.host, self.port)
        port.link.times_out = self.times_out
        setattr(port.link, self.stage, self.delay_s)
        usual_s = 0.0 if self.stage == "execution_s" else port.latency_s
        world.later(self.for_s, lambda: setattr(port.link, self.stage, usual_s))


@attrs.frozen
class Lose:
    """The next commands of a kind are lost, or their answers are."""

    host: str
    port: int
    is_answer: bool
    of: Of
    count: int
    after_s: float
    host_status: HostStatus = HostStatus.TIME_OUT

    def happen(self, world: "World") -> None:
        link = _port(world, self.host, self.port).link
        lose = link.lose_answers if self.is_answer else link.lose_commands
        lose(self.count, _MATCHES[self.of], host_status=self.host_status, after_s=self.after_s)


@attrs.frozen
class LogIn:
    """A new session takes the place of the old one; commands of the old one die."""

    host: str
    port: int
    is_other_isid: bool = False

    def happen(self, world: "World") -> None:
        port = _port(world, self.host, self.port)
        isid = f"00023d{int(port.nexus.isid[6:], 16) + 1:06x}" if self.is_other_isid else None
        port.log_in_again(isid)


@attrs.frozen
class NexusLoss:
    """The array lost the nexus and has it again; the initiator's side learns of it, and gives its commands back."""

    host: str
    port: int

    def happen(self, world: "World") -> None:
        port = _port(world, self.host, self.port)
        port.log_in_again()
        if port.unit is None:
            world.unit.nexus_loss(port.nexus)


@attrs.frozen
class Reset:
    """Somebody resets the logical unit."""

    def happen(self, world: "World") -> None:
        world.unit.lun_reset()


@attrs.frozen
class PowerLoss:
    """The array goes off and on again, and with it every session."""

    is_announced: bool = True
    keeps: bool = False

    def happen(self, world: "World") -> None:
        for host in world.hosts.values():
            for port in host.ports:
                port.log_in_again()
        world.unit.lose_power(announced=self.is_announced, keeps=self.keeps)


@attrs.frozen
class Vanish:
    """A device node is deleted; only a daemon started later finds it again."""

    host: str
    port: int

    def happen(self, world: "World") -> None:
        port = _port(world, self.host, self.port)
        if _leaves_clones_alone(world, self.host, port):
            return
        for transport in port.transports[-1:]:
            transport.vanish()
            port.is_vanished = True


@attrs.frozen
class WrongDisk:
    """After a rescan another disk sits behind the node; the first command there is told so."""

    host: str
    port: int
    what: str
    """``wwid``, ``size`` or ``block size``: what is not as it was."""

    def happen(self, world: "World") -> None:
        port = _port(world, self.host, self.port)
        is_clone = self.what != "wwid"
        if not port.transports or _leaves_clones_alone(world, self.host, port, is_clone=is_clone):
            return
        other = ArrayUnit(
            world.chronicle,
            world.setup.quirks,
            serial="0ther" if self.what == "wwid" else "5eed0001",
            blocks=32 if self.what == "size" else 64,
            block_size_bytes=4096 if self.what == "block size" else 512,
            is_other_disk=True,
        )
        port.unit, port.is_clone = other, is_clone
        port.log_in_again()
        for transport in port.transports:
            transport.model = other
        world.chronicle.add(Swapped, host=self.host, port=self.port)
        other.attach(port.nexus)
        other.attend(port.nexus, TARGET_CHANGED)


@attrs.frozen
class Intrude:
    """An initiator that is none of our hosts takes part in persistent reservations."""

    action: PrOut
    releases: bool = False

    def happen(self, world: "World") -> None:
        victim = world.unit.persistent.holder
        if self.action is PrOut.CLEAR:
            world.as_third(pr_out.register_and_ignore_existing_key(KEYS["x"]))
            world.as_third(pr_out.clear(KEYS["x"]))
            return
        registered = world.unit.persistent.registered
        key = victim.key if victim else registered[0].key if registered else None
        if key is None or key == KEYS["x"]:
            return
        preempt = (
            pr_out.preempt_and_abort if self.action is PrOut.PREEMPT_AND_ABORT else pr_out.preempt
        )
        world.as_third(pr_out.register_and_ignore_existing_key(KEYS["x"]))
        world.as_third(preempt(KEYS["x"], key, TYPE))
        if self.releases:
            world.third_leaves()


@attrs.frozen
class IntruderLeaves:
    """It gives back what it has."""

    def happen(self, world: "World") -> None:
        world.third_leaves()


class Ends(enum.Enum):
    """How the array ends commands, all of a sudden."""

    BUSY = Ending(Status.BUSY)
    TASK_SET_FULL = Ending(Status.TASK_SET_FULL)
    CONFLICT = RESERVATION_CONFLICT
    IN_TRANSITION = check_condition(SenseKey.NOT_READY, _IN_TRANSITION)
    MEDIUM_ERROR = check_condition(SenseKey.MEDIUM_ERROR, _UNREADABLE)


@attrs.frozen
class Interfere:
    """The array ends the next commands another way."""

    ends: Ends
    count: int
    is_data: bool = True

    def happen(self, world: "World") -> None:
        opcode = OpCode.WRITE_10 if self.is_data else None
        world.unit.interfere(self.ends.value, count=self.count, opcode=opcode)
