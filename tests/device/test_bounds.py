"""Everything ends, within what the configuration says, however many underpaths hang (promise 6)."""

import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.device.bounds import change_s, request_s
from mpio_fuse.device.checks import emergency_s
from mpio_fuse.device.first_answer import PATIENCE_S
from mpio_fuse.device.handle import Handle
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.underpath_rules import UnderpathRules
from mpio_fuse.device.watch import watch
from mpio_fuse.errors import MpioError, OpenRefused
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.opcodes import OpCode
from tests.device.world import KEYS, Host, World, stamp

pytestmark = [pytest.mark.virtual_clock]

IO_S, CONTROL_S, NO_PATH_S = 30.0, 10.0, 60.0
OUTAGE_S = IO_S + NO_PATH_S + emergency_s(CONTROL_S)
"""One command hangs, then nobody is left for the time that is waited, with a check at its end."""

MANUAL = Path(__file__).parents[2] / "docs/config.md"

Act = Callable[[Host, Handle], Awaitable[object]]
SAID = "underpath down|flush at the last close failed|procedure cut short|unregister failed"
UNTOLD = {"second open", "look"}
DATA = (OpCode.READ_10, OpCode.WRITE_10, OpCode.SYNCHRONIZE_CACHE_10)

WITH_A_HANDLE: dict[str, tuple[Act, float]] = {
    "read": (lambda _, handle: handle.read(0, 4096), OUTAGE_S),
    "write": (lambda _, handle: handle.write(0, stamp("lost")), OUTAGE_S),
    "flush": (lambda _, handle: handle.flush(), OUTAGE_S),
    "second open": (lambda host, _: host.device.open(), 2 * CONTROL_S),
    "close": (lambda _, handle: handle.aclose(), OUTAGE_S + 2 * CONTROL_S),
    "unmount": (lambda host, _: host.device.remove(), IO_S + 3 * CONTROL_S),
}
WITHOUT: dict[str, tuple[Callable[[Host], Awaitable[object]], float]] = {
    "open": (lambda host: host.device.open(), 2 * CONTROL_S),
    "forced open": (lambda host: host.device.open(OpenOption.FORCED_OPEN), 2 * CONTROL_S),
    "unmount": (lambda host: host.device.remove(), 3 * CONTROL_S + PATIENCE_S),
    "look": (lambda host: host.device.look(), CONTROL_S + PATIENCE_S),
}


async def _host(underpaths: int) -> Host:
    rules = UnderpathRules(no_path_timeout_s=NO_PATH_S)
    return await World().host(
        "a", underpaths, io_timeout_s=IO_S, control_timeout_s=CONTROL_S, rules=rules
    )


def _hang(host: Host, matches: Callable[[Command], bool] = lambda _: True) -> None:
    for link in host.links:
        link.times_out = False
        link.lose_commands(None, matches)
        link.lose_resets(None)


async def _elapsed_s(host: Host, act: Callable[[], Awaitable[object]]) -> float:
    """How long it takes, with the watch running; more than an hour is for ever."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, host.device)
        started_s = trio.current_time()
        with trio.fail_after(3600), contextlib.suppress(MpioError):
            await act()
        nursery.cancel_scope.cancel()
    return trio.current_time() - started_s


@pytest.mark.hazard(22, 25)
@pytest.mark.parametrize("underpaths", [1, 2, 4, 8])
@pytest.mark.parametrize("what", WITH_A_HANDLE)
async def test_with_every_underpath_hung(
    what: str,
    underpaths: int,
    autojump_clock: MockClock,
    announce_log: Callable[[str], None],
) -> None:
    if what not in UNTOLD:
        announce_log(SAID)
    host = await _host(underpaths)
    handle = await host.device.open()
    _hang(host)
    act, limit_s = WITH_A_HANDLE[what]
    assert await _elapsed_s(host, lambda: act(host, handle)) <= limit_s


@pytest.mark.hazard(22, 25)
@pytest.mark.parametrize("underpaths", [1, 2, 4, 8])
@pytest.mark.parametrize("what", WITHOUT)
async def test_with_every_underpath_hung_and_nothing_open(
    what: str,
    underpaths: int,
    autojump_clock: MockClock,
    announce_log: Callable[[str], None],
) -> None:
    if what not in UNTOLD:
        announce_log(SAID)
    host = await _host(underpaths)
    _hang(host)
    act, limit_s = WITHOUT[what]
    assert await _elapsed_s(host, lambda: act(host)) <= limit_s


@pytest.mark.expects_log(SAID)
@pytest.mark.hazard(23, 25)
@pytest.mark.parametrize("what", ["read", "write", "flush"])
@pytest.mark.parametrize("underpaths", [1, 2, 4, 8])
async def test_with_data_alone_hung_and_every_check_passed(
    what: str, underpaths: int, autojump_clock: MockClock
) -> None:
    """Each underpath must be tried, and each costs the timeout: the request as a whole has an end."""
    host = await _host(underpaths)
    handle = await host.device.open()
    _hang(host, lambda command: command.cdb[0] in DATA)
    act, _ = WITH_A_HANDLE[what]
    elapsed_s = await _elapsed_s(host, lambda: act(host, handle))
    assert elapsed_s <= request_s(host.device.settings) == 2 * (IO_S + CONTROL_S + 2) + NO_PATH_S


@pytest.mark.expects_log(SAID)
@pytest.mark.parametrize("what", ["read", "write", "flush", "close", "unmount"])
async def test_one_underpath_of_eight_that_lives_is_found_at_once(
    what: str, autojump_clock: MockClock
) -> None:
    """The first that hangs costs its timeout; no other does."""
    host = await _host(8)
    handle = await host.device.open()
    living = host.links.pop()
    _hang(host)
    host.links.append(living)
    act, _ = WITH_A_HANDLE[what]
    assert await _elapsed_s(host, lambda: act(host, handle)) <= IO_S + CONTROL_S


@pytest.mark.expects_log(SAID)
async def test_writes_to_the_same_blocks_do_not_add_their_bounds_up(
    autojump_clock: MockClock,
) -> None:
    host = await _host(2)
    handle = await host.device.open()
    _hang(host)

    async def write_together() -> None:
        async def write() -> None:
            with contextlib.suppress(MpioError):
                await handle.write(0, stamp("same"))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(write)

    assert await _elapsed_s(host, write_together) <= request_s(host.device.settings)


@pytest.mark.expects_log(SAID)
@pytest.mark.parametrize("what", ["read", "write", "close"])
async def test_one_of_eight_is_found_also_when_nobody_watches(
    what: str, autojump_clock: MockClock
) -> None:
    host = await _host(8)
    handle = await host.device.open()
    living = host.links.pop()
    _hang(host)
    act, _ = WITH_A_HANDLE[what]
    started_s = trio.current_time()
    await act(host, handle)
    assert trio.current_time() - started_s <= IO_S + 2 * CONTROL_S
    assert not living.faults


@pytest.mark.expects_log(SAID)
async def test_a_release_does_not_ask_each_that_hangs(autojump_clock: MockClock) -> None:
    host = await _host(8)
    await (await host.device.open(OpenOption.RETAIN_RESERVATION)).aclose()
    host.links.pop()
    _hang(
        host,
        lambda command: command.cdb[0] in (OpCode.PERSISTENT_RESERVE_OUT, OpCode.TEST_UNIT_READY),
    )
    started_s = trio.current_time()
    await host.device.release_retained()
    assert trio.current_time() - started_s <= 3 * CONTROL_S


@pytest.mark.expects_log("underpath down")
async def test_what_is_enforced_is_enforced(autojump_clock: MockClock) -> None:
    """An open that registers one after the other, with more underpaths that hang then than there is time for."""
    host = await World().host(
        "a", 20, io_timeout_s=IO_S, control_timeout_s=CONTROL_S, serialise_registers=True
    )
    _hang(host, lambda command: command.cdb[0] == OpCode.PERSISTENT_RESERVE_OUT)
    limit_s = change_s(host.device.settings)
    started_s = trio.current_time()
    with pytest.raises(OpenRefused, match=f"not done within {limit_s:g} s"):
        await host.device.open()
    assert trio.current_time() - started_s == limit_s


async def test_the_manual_has_the_bounds_of_the_defaults() -> None:
    settings = Settings(KEYS["a"])
    request, change = request_s(settings), change_s(settings)
    told = re.findall(
        r"^\| [A-Za-z ,]+ \| (\d+) s \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(one) for one in told] == [
        request,
        change,
        request + change,
        request + 2 * change,
    ]
