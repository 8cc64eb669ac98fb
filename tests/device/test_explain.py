"""explain keeps its promise: an open does what it told, and it itself sends PERSISTENT RESERVE IN alone."""

import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import cast

import pytest
from structlog.testing import capture_logs

from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.errors import MpioError, UsageError
from mpio_fuse.reserve.explain import explain
from mpio_fuse.reserve.explain_words import Explanation
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import LIO, TGT, Quirks
from tests.device.world import KEYS, Host, World
from tests.open_table import states

NO_RESERVE = OpenOption.NO_RESERVE
RETAIN = OpenOption.RETAIN_RESERVATION
SINGLE = OpenOption.SINGLE
FORCED = OpenOption.FORCED_OPEN
OPTIONS = (
    OpenOption.DEFAULT, NO_RESERVE, RETAIN, SINGLE, FORCED, FORCED | RETAIN, FORCED | SINGLE, RETAIN | SINGLE,
)  # fmt: skip


async def ours_single(a: Host, b: Host) -> None:
    await a.device.open(SINGLE)


async def open_without_reservation(a: Host, b: Host) -> None:
    await a.device.open(NO_RESERVE)


async def ours_from_before(a: Host, b: Host) -> None:
    """Over the second nexus, and nobody remembers that."""
    a.links[0].go_down()
    await states.ours_retained(a, b)
    a.links[0].come_up()
    old = a.device
    a.device = PseudoDevice(old.logical_unit, a.transports, old.settings)
    await a.device.configure()


async def theirs_retained(a: Host, b: Host) -> None:
    await states.ours_retained(b, a)


async def theirs_of_all_registrants(a: Host, b: Host) -> None:
    command = pr_out.reserve(KEYS["b"], PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS)
    await b.transports[0].execute(command)


async def taken_while_open(a: Host, b: Host) -> None:
    await a.device.open()
    await b.device.open(FORCED)


async def one_dead_underpath(a: Host, b: Host) -> None:
    a.links[0].go_down()


async def no_underpath(a: Host, b: Host) -> None:
    for link in a.links:
        link.go_down()


State = Callable[[Host, Host], Awaitable[None]]

STATES: dict[str, State] = {
    **states.STATES,
    **{
        state.__name__.replace("_", " "): state
        for state in (
            ours_single, open_without_reservation, ours_from_before, theirs_retained, theirs_of_all_registrants,
            taken_while_open, one_dead_underpath, no_underpath,
        )
    },
}  # fmt: skip


async def _explained(world: World, host: Host, options: OpenOption) -> Explanation:
    """What explain tells, having sent nothing but PERSISTENT RESERVE IN."""
    world.model.log.clear()
    told = explain(options, await host.device.situation())
    assert {entry.cdb[0] for entry in world.model.log} <= {OpCode.PERSISTENT_RESERVE_IN}
    world.model.log.clear()
    return told


def _changes_told(told: Explanation) -> list[str]:
    sent = (one for step in told.steps for one in step.commands)
    return _in_order(
        f"{one.underpath} {one.action.name}"
        for one in sent
        if one.is_answered and isinstance(one.action, PrOut)
    )


def _changes_sent(world: World, host: Host) -> list[str]:
    actions = {action.name for action in PrOut}
    return _in_order(one for one in world.sent(host) if one.split()[1] in actions)


def _in_order(commands: Iterable[str]) -> list[str]:
    """All underpaths are registered at once, in whatever order, and one that has an attention to tell once more."""
    runs = groupby(commands, key=lambda one: one.split()[1])
    return [one for _, run in runs for one in sorted(set(run))]


async def _really(host: Host, options: OpenOption) -> int | None:
    try:
        await host.device.open(options)
    except MpioError as error:
        return error.errno
    return None


@pytest.mark.parametrize("standby", ["registered", "unregistered"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("state", STATES)
async def test_the_open_does_what_was_told(state: str, options: OpenOption, standby: str) -> None:
    world = World()
    a, b = await world.host("a", standby=standby), await world.host("b")
    with capture_logs():
        await STATES[state](a, b)
    told = await _explained(world, a, options)
    before = Counter(world.keys)
    with capture_logs():  # warnings of being fenced and cut short are the devices' tests' matter
        answered = await _really(a, options)
    assert _changes_told(told) == _changes_sent(world, a)
    assert told.errno == answered
    gone = before - Counter(world.keys)
    del gone[KEYS["a"]]
    assert Counter(one.key for one in told.removed) == gone


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("state", states.STATES)
async def test_the_open_does_what_was_told_over_one_underpath(
    state: str, options: OpenOption
) -> None:
    world = World()
    a, b = await world.host("a", underpaths=1), await world.host("b")
    await STATES[state](a, b)
    told = await _explained(world, a, options)
    with capture_logs():
        answered = await _really(a, options)
    assert _changes_told(told) == _changes_sent(world, a)
    assert told.errno == answered


@pytest.mark.parametrize("quirks", [LIO, TGT], ids=lambda one: cast("Quirks", one).name)
async def test_it_tells_whose_registrations_a_forced_open_removes(quirks: Quirks) -> None:
    world = World(LogicalUnitModel(quirks))
    a, b = await world.host("a"), await world.host("b")
    await b.device.open()
    told = await _explained(world, a, FORCED)
    assert [one.key for one in told.removed] == [KEYS["b"]] * 2
    named = [str(one.transport_id) for one in told.removed if one.transport_id]
    expected = ["iqn.host-b"] * 2 if quirks.has_read_full_status else []
    assert [one.split(",")[0] for one in named] == expected


async def test_the_boxes_are_the_figures() -> None:
    world = World()
    a, b = await world.host("a"), await world.host("b")
    await b.device.open()
    situation = await a.device.situation()
    forced, default = explain(FORCED, situation), explain(OpenOption.DEFAULT, situation)
    assert [step.box for step in forced.steps] == ["520", "820", "840", "870"]
    assert [step.box for step in default.steps] == ["1110", "1130"]
    assert (default.figure, default.errno) == ("Figure 11, default reserve", errno.EIO)
    assert default.reason == f"reserved by key {KEYS['b']} (Exclusive Access, registrants only)"


async def test_contradicting_options_are_a_usage_error() -> None:
    host = await World().host("a")
    situation = await host.device.situation()
    with pytest.raises(UsageError):
        explain(NO_RESERVE | FORCED, situation)


async def test_an_underpath_with_an_old_command_is_told_to_be_left_out() -> None:
    world = World()
    host = await world.host("a")
    host.device.underpaths[0].in_flight = 1
    told = explain(OpenOption.DEFAULT, await host.device.situation())
    assert told.notes[0].startswith("a1: an old command is still under way")
    assert _changes_told(told) == ["a2 REGISTER_AND_IGNORE_EXISTING_KEY", "a2 RESERVE"]
