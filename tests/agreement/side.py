"""What both sides are to the comparison."""

from collections.abc import Sequence
from typing import Protocol

from tests.agreement.step import Step

LAST_BLOCK = 131_071
"""Of the 64 MiB that both sides have."""

WRITTEN_BLOCKS = 4
"""Sequences write these first blocks and no others."""

ANSWERED_NOTHING = ""


class Side(Protocol):
    """The model or a real target, with the same nexuses by the same names."""

    def begin(self) -> None:
        """Go back to nothing, and count the generation from here."""
        ...

    def take(self, step: Step) -> str:
        """Do it, and say the answer; `ANSWERED_NOTHING` for what is no command."""
        ...


def play(side: Side, steps: Sequence[Step]) -> list[str]:
    """All answers of one side to a sequence, from the beginning."""
    side.begin()
    return [side.take(step) for step in steps]
