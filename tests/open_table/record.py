"""Writes open_table.toml from what the model does now: ``python -m tests.open_table.record``.  Read what changed."""

import trio
from trio.testing import MockClock

from tests.open_table.model_stage import ModelStage
from tests.open_table.play import play
from tests.open_table.row import CASES, FILE, text_of


async def _record() -> str:
    return text_of([await play(case, ModelStage()) for case in CASES])


if __name__ == "__main__":
    FILE.write_text(trio.run(_record, clock=MockClock(autojump_threshold=0)))
