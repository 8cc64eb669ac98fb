"""Draws a schedule from a seed: which array, which hosts, what they do and what goes wrong.

Each schedule has only a few kinds of trouble, drawn first: where everything happens at once, nothing gets far enough
to go wrong in an interesting way.  Times between events are often nothing, or as short as a command takes.
"""

import random
from collections.abc import Callable, Collection

import attrs

from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.command import HostStatus
from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.transport.simulated import MAXIMUM_IN_FLIGHT
from tests.schedules import faults, requests
from tests.schedules.schedule import Action, Event, HostSetup, Schedule, Setup
from tests.schedules.stamps import CELLS, CELLS_PER_BLOCK

SLOTS = 2
_OPTIONS = {
    OpenOption.DEFAULT: 8,
    OpenOption.FORCED_OPEN: 5,
    OpenOption.NO_RESERVE: 2,
    OpenOption.RETAIN_RESERVATION: 2,
    OpenOption.SINGLE: 1,
    OpenOption.FORCED_OPEN | OpenOption.RETAIN_RESERVATION: 1,
}
_GAPS_S = {0.0: 5, 0.0005: 3, 0.003: 3, 0.02: 3, 0.3: 2, 1.1: 2, 2.5: 2, 7.0: 1}
_CANCEL_AFTER_S = (0.0002, 0.001, 0.005, 0.03, 0.5)
_ARRAYS = {"lio": 10, "spc": 3, "scst": 2, "tgt": 3, "per-initiator": 2}
_UNDERPATHS = {1: 3, 2: 6, 3: 2, 4: 1}
_LATENCIES_S = {0.0: 8, 0.0003: 3, 0.002: 3, 0.02: 2}
_DEPTHS = {MAXIMUM_IN_FLIGHT: 8, 3: 1, 1: 1}
STARTING_SHARE = 0.6
"""Of the schedules have transports that start commands."""

_LOSSES = (HostStatus.TIME_OUT, HostStatus.TRANSPORT_DISRUPTED)


@attrs.define
class _Draw:
    """One schedule in the making."""

    dice: random.Random
    setup: Setup
    troubles: list[Callable[["_Draw"], Action]]
    can_cancel: bool
    open_slots: list[tuple[str, int]] = attrs.Factory(list)
    """Where something was opened that was not closed yet, as far as one can tell beforehand."""

    sequel: list[Callable[["_Draw"], Action]] = attrs.Factory(list)
    """What comes next, whatever the dice say: a trouble that nobody meets is none."""

    def pick(self, weights: dict[object, int]) -> object:
        return self.dice.choices(list(weights), list(weights.values()))[0]

    @property
    def host(self) -> str:
        return self.dice.choice(self.setup.hosts).name

    def port(self, *, is_used: bool = False) -> tuple[str, int]:
        """Any underpath; with ``is_used`` one of a host that has the disk open, if one has."""
        users = {host for host, _ in self.open_slots} if is_used else set()
        hosts = [one for one in self.setup.hosts if one.name in users] or self.setup.hosts
        host = self.dice.choice(hosts)
        return host.name, self.dice.randint(1, host.underpaths)

    @property
    def cancel_after_s(self) -> float | None:
        is_cancelled = self.can_cancel and self.dice.random() < 0.25
        return self.dice.choice(_CANCEL_AFTER_S) if is_cancelled else None

    def slot(self) -> tuple[str, int]:
        return self.dice.choice(self.open_slots)

    def cells(self) -> tuple[int, int]:
        """Whole blocks most often, and seldom many."""
        count = self.dice.choice((1, 2, 2, 2, 4, 8))
        first = self.dice.randrange(CELLS - count + 1)
        return (first - first % CELLS_PER_BLOCK if count > 1 else first), count


def draw(seed: int, *, without: Collection[str] = ()) -> Schedule:
    """The schedule of that seed.  ``without``: names of troubles that are left out."""
    dice = random.Random(seed)  # noqa: S311 (a schedule, not a secret)
    setup = _with_transports(_setup(dice, without), seed)
    names = [name for name in TROUBLES if name not in without]
    chosen = dice.sample(names, k=dice.choice((1, 2, 2, 3, 4)))
    one = _Draw(dice, setup, [TROUBLES[name] for name in chosen], can_cancel=dice.random() < 0.3)
    return Schedule(seed, setup, tuple(_events(one)))


def _setup(dice: random.Random, without: Collection[str]) -> Setup:
    array = dice.choices(list(_ARRAYS), list(_ARRAYS.values()))[0]
    if array in without:
        array = "lio"
    names = "abc" if dice.random() < 0.12 else "ab"
    is_instant = dice.random() < 0.6
    hosts = tuple(_host(dice, name, is_instant=is_instant) for name in names)
    return Setup(
        array,
        hosts,
        has_volatile_cache=dice.random() < 0.25,
        max_transfer_blocks=dice.choice((1, 2, 8, 8)),
        is_short=dice.random() < 0.7,
    )


def _with_transports(setup: Setup, seed: int) -> Setup:
    """By dice of its own, so that a seed has the events that it had when all transports were alike."""
    dice = random.Random(f"transports of {seed}")  # noqa: S311
    depth = dice.choices(list(_DEPTHS), list(_DEPTHS.values()))[0]
    return attrs.evolve(setup, starts=dice.random() < STARTING_SHARE, max_in_flight=depth)


def _host(dice: random.Random, name: str, *, is_instant: bool) -> HostSetup:
    count = dice.choices(list(_UNDERPATHS), list(_UNDERPATHS.values()))[0]
    weights = {0.0: 1} if is_instant else _LATENCIES_S
    latencies = dice.choices(list(weights), list(weights.values()), k=count)
    standby = "unregistered" if dice.random() < 0.15 else "registered"
    return HostSetup(name, tuple(latencies), standby)


def _events(one: _Draw) -> list[Event]:
    dice = one.dice
    at_s = 0.2
    events = [Event(at_s, _open(one))]
    for _ in range(dice.randint(6, 15)):
        at_s += dice.choices(list(_GAPS_S), list(_GAPS_S.values()))[0]
        events.append(Event(round(at_s, 4), _action(one)))
    return events


def _action(one: _Draw) -> Action:
    dice = one.dice
    if one.sequel and one.open_slots:
        return one.sequel.pop(0)(one)
    if dice.random() < 0.3:
        return dice.choice(one.troubles)(one)
    if not one.open_slots or dice.random() < 0.22:
        return _open(one)
    return dice.choices((_write, _read, _flush, _close), (10, 4, 1, 3))[0](one)


def _open(one: _Draw) -> Action:
    host, slot = one.host, one.dice.randrange(SLOTS)
    one.open_slots.append((host, slot))
    options = one.dice.choices(list(_OPTIONS), list(_OPTIONS.values()))[0]
    return requests.Open(host, slot, options, one.cancel_after_s)


def _close(one: _Draw) -> Action:
    host, slot = one.slot()
    if one.dice.random() < 0.7:
        one.open_slots.remove((host, slot))
    return requests.Close(host, slot, one.cancel_after_s)


def _write(one: _Draw) -> Action:
    host, slot = one.slot()
    first, count = one.cells()
    times = one.dice.choice((1, 1, 1, 2, 4))
    is_durable = one.dice.random() < 0.15
    return requests.Write(host, slot, first, count, is_durable, one.cancel_after_s, times)


def _read(one: _Draw) -> Action:
    return requests.Read(*one.slot(), *one.cells(), one.cancel_after_s)


def _flush(one: _Draw) -> Action:
    return requests.Flush(*one.slot(), one.cancel_after_s)


def _link_down(one: _Draw) -> Action:
    return faults.LinkDown(*one.port(), one.dice.choice((0.002, 0.1, 3.0, 12.0)))


def _delay(one: _Draw) -> Action:
    stage = one.dice.choice(("arrival_s", "execution_s", "answer_s"))
    delay_s = one.dice.choice((0.001, 0.02, 0.5, 1.5))
    return faults.Delay(*one.port(), stage, delay_s, one.dice.choice((0.001, 0.1, 4.0)))


def _hang(one: _Draw) -> Action:
    """Longer than our own bound, so that what is under way is given up, and lands when it lands.

    A transport does not give back what has not yet arrived: such a command nobody could know of any more.  And where
    registrations are the initiator's, no barrier stops what has not yet arrived.
    """
    stage = one.dice.choice(("arrival_s", "arrival_s", "execution_s", "answer_s"))
    if one.setup.array == "per-initiator" and stage == "arrival_s":
        stage = "execution_s"
    delay_s = one.dice.choice((2.5, 6.0, 20.0))
    for_s = one.dice.choice((0.0, 0.001, 0.1, 4.0))
    times_out = one.dice.random() < 0.5 and stage != "arrival_s"
    one.sequel = [_write, _write]
    return faults.Delay(*one.port(is_used=True), stage, delay_s, for_s, times_out)


def _lose(one: _Draw) -> Action:
    dice = one.dice
    return faults.Lose(
        *one.port(is_used=True),
        is_answer=dice.random() < 0.5,
        of=dice.choice(list(faults.Of)),
        count=dice.choice((1, 1, 2)),
        after_s=dice.choice((0.0, 0.01, 1.5)),
        host_status=dice.choice(_LOSSES),
    )


def _intrude(one: _Draw) -> Action:
    dice = one.dice
    if one.sequel and one.open_slots:
        return one.sequel.pop(0)(one)
    if dice.random() < 0.3:
        return faults.IntruderLeaves()
    action = dice.choice(
        (PrOut.PREEMPT_AND_ABORT, PrOut.PREEMPT_AND_ABORT, PrOut.PREEMPT, PrOut.CLEAR)
    )
    return faults.Intrude(action, releases=dice.random() < 0.5)


def _interfere(one: _Draw) -> Action:
    ends = one.dice.choice(list(faults.Ends))
    is_any = ends in {faults.Ends.BUSY, faults.Ends.TASK_SET_FULL} and one.dice.random() < 0.4
    return faults.Interfere(ends, one.dice.choice((1, 1, 2, 5)), is_data=not is_any)


TROUBLES: dict[str, Callable[[_Draw], Action]] = {
    "link down": _link_down,
    "delay": _delay,
    "hang": _hang,
    "loss": _lose,
    "login": lambda one: faults.LogIn(*one.port(), is_other_isid=one.dice.random() < 0.3),
    "nexus loss": lambda one: faults.NexusLoss(*one.port()),
    "reset": lambda _: faults.Reset(),
    "power loss": lambda one: faults.PowerLoss(one.dice.random() < 0.7, one.dice.random() < 0.5),
    "vanish": lambda one: faults.Vanish(*one.port()),
    "wrong disk": lambda one: faults.WrongDisk(*one.port(), "wwid"),
    "changed disk": lambda one: faults.WrongDisk(
        *one.port(), one.dice.choice(("size", "block size"))
    ),
    "intruder": _intrude,
    "interference": _interfere,
    "crash": lambda one: requests.Crash(
        one.host, one.dice.choice((0.0, 0.5, 5.0)), one.dice.random() < 0.3
    ),
    "unmount": lambda one: requests.Unmount(one.host, one.dice.choice((0.0, 0.5, 5.0))),
}
"""What can go wrong, by name."""
