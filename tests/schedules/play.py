"""Plays one schedule: the same chronicle whenever it is played, whatever else the machine does."""

import logging
import random

import structlog
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from tests.schedules.chronicle import Chronicle
from tests.schedules.epilogue import epilogue
from tests.schedules.schedule import Schedule
from tests.schedules.world import World

STAGES = 3
"""At how many places one command can be delayed (`mpio_fuse.transport.simulated_link`)."""


def play(schedule: Schedule) -> Chronicle:
    """Run it from the first mount to the last unmount."""
    _load_dice(schedule.seed)
    chronicles: list[Chronicle] = []
    trio.run(_main, schedule, chronicles, clock=MockClock(autojump_threshold=0))
    return chronicles[0]


def be_quiet() -> None:
    """Make no log: ten thousand schedules of trouble are not worth a warning each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _load_dice(seed: int) -> None:
    """The tasks that can run are run in an order that trio draws; so its dice are part of the schedule.

    This is how Hypothesis does it (`trio._core._run._hypothesis_plugin_setup`).
    """
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    trio_run._r = random.Random(seed)  # noqa: S311, SLF001 (no secret; trio has no public way)


async def _main(schedule: Schedule, chronicles: list[Chronicle]) -> None:
    async with trio.open_nursery() as nursery:
        world = World(schedule.setup, nursery)
        chronicles.append(world.chronicle)
        for host in world.hosts.values():
            host.begin_life()
        await _happen(world, schedule)
        await epilogue(world)
        nursery.cancel_scope.cancel()


async def _happen(world: World, schedule: Schedule) -> None:
    begin_s = trio.current_time()
    delays_s = [getattr(event.action, "delay_s", 0.0) for event in schedule.events]
    world.longest_delay_s = sum(sorted(delays_s)[-STAGES:])
    for event in schedule.events:
        await trio.sleep_until(begin_s + event.at_s)
        world.chronicle.note(str(event))
        event.action.happen(world)
