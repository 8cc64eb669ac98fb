"""Schedules go both ways that a data command can take: started, as over iscsi, and executed, as over sg."""

import pytest

from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.contract import OnEnd, Started
from tests.schedules.generator import draw
from tests.schedules.hosts import DATA, StartingWatchedTransport, WatchedTransport
from tests.schedules.play import be_quiet, play

SEEDS = range(1, 41)


def test_both_ways_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a started command ends both before `start` has returned, and later."""
    be_quiet()
    seen: set[str] = set()
    execute, start = WatchedTransport.execute, StartingWatchedTransport.start

    async def executed(self: WatchedTransport, command: Command) -> Completion:
        if command.cdb[0] in DATA and not isinstance(self, StartingWatchedTransport):
            seen.add("executed")
        return await execute(self, command)

    def started(self: StartingWatchedTransport, command: Command, on_end: OnEnd) -> Started | None:
        ends = ["ended at once"]

        def end(how: Completion | Exception) -> None:
            seen.update(ends)
            on_end(how)

        command_started = start(self, command, end)
        ends[:] = ["ended later"]
        seen.add("started" if command_started else "no room")
        return command_started

    monkeypatch.setattr(WatchedTransport, "execute", executed)
    monkeypatch.setattr(StartingWatchedTransport, "start", started)
    for seed in SEEDS:
        play(draw(seed))
    assert seen >= {"executed", "started", "ended at once", "ended later"}


def test_the_events_of_a_seed_do_not_depend_on_its_transports() -> None:
    kinds = {(draw(seed).setup.starts, draw(seed).setup.max_in_flight) for seed in range(300)}
    assert len(kinds) == 6
    assert "started" in next(draw(one).text for one in SEEDS if draw(one).setup.starts)
