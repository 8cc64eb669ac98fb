"""A schedule: a setup, and events that know how to happen.  Plain data; `generator` draws it."""

from typing import TYPE_CHECKING, Protocol

import attrs

from mpio_fuse.target.quirks import LIO, PER_INITIATOR, SCST, SPC, TGT, Quirks
from mpio_fuse.transport.simulated import MAXIMUM_IN_FLIGHT

if TYPE_CHECKING:
    from tests.schedules.world import World

ARRAYS: dict[str, Quirks] = {
    "lio": LIO,
    "spc": SPC,
    "scst": SCST,
    "tgt": TGT,
    "per-initiator": PER_INITIATOR,
}


@attrs.frozen
class HostSetup:
    """One host.  ``latencies_s``: of each of its underpaths, spent before the command arrives, and as much after."""

    name: str
    latencies_s: tuple[float, ...]
    standby: str = "registered"

    @property
    def underpaths(self) -> int:
        return len(self.latencies_s)


@attrs.frozen
class Setup:
    """What there is before anything happens."""

    array: str
    hosts: tuple[HostSetup, ...]
    has_volatile_cache: bool = False
    max_transfer_blocks: int = 8
    starts: bool = False
    """The transports start data commands, as iscsi's do; else they execute them all, as sg's do."""

    max_in_flight: int = MAXIMUM_IN_FLIGHT
    """How many commands a transport carries at once; others wait for their turn."""

    is_short: bool = False
    """Only the first host that can uses the disk in the epilogue; what it finds is what the others would."""

    @property
    def quirks(self) -> Quirks:
        return ARRAYS[self.array]


class Action(Protocol):
    """Something that happens; synchronous: what takes time is started in a task."""

    def happen(self, world: "World") -> None:
        """Do it, or nothing if there is nothing to do it to."""
        ...


@attrs.frozen
class Event:
    """An action and its time."""

    at_s: float
    action: Action

    def __str__(self) -> str:
        return f"{self.at_s:9.4f} {action_text(self.action)}"


@attrs.frozen
class Schedule:
    """``seed`` drew it, and seeds trio's dice when it is played."""

    seed: int
    setup: Setup
    events: tuple[Event, ...]

    @property
    def text(self) -> str:
        """The whole schedule, for people."""
        setup = self.setup
        head = f"array {setup.array}{', volatile cache' * setup.has_volatile_cache}"
        head += f", {setup.max_in_flight} commands at once{', started' * setup.starts}"
        hosts = "; ".join(f"{one.name}: {_host_text(one)}" for one in setup.hosts)
        return "\n".join([f"{head}; {hosts}", *map(str, self.events)])


def _host_text(host: HostSetup) -> str:
    latencies = ", ".join(f"{one:g} s" for one in host.latencies_s)
    return f"{host.underpaths} underpaths ({latencies}), standby {host.standby}"


def action_text(action: Action) -> str:
    """An action in words: its class, and what is not as usual."""
    cls: type[attrs.AttrsInstance] = type(action)  # type: ignore[assignment]
    values = [
        f"{field.name}={getattr(action, field.name)}"
        for field in attrs.fields(cls)
        if getattr(action, field.name) != field.default
    ]
    return " ".join([cls.__name__, *values])
