"""Where two sides differ, and the shortest sequence in which they still do."""

from collections.abc import Sequence

import attrs

from tests.agreement.side import Side
from tests.agreement.step import Step, in_words


@attrs.frozen
class Difference:
    """Both answer alike but for the last step."""

    steps: tuple[Step, ...]
    model: tuple[str, ...]
    real: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What tells this difference from others: the last step's verb and both answers."""
        return f"{self.steps[-1].verb}: model {self.model[-1]!r}, real {self.real[-1]!r}"

    def __str__(self) -> str:
        """In words, and then the record of it."""
        told = [
            f"  {in_words(step)} = {answer or 'done'}"
            for step, answer in zip(self.steps, self.real, strict=True)
        ]
        record = [
            f"{step} = {answer}" if answer else str(step)
            for step, answer in zip(self.steps, self.real, strict=True)
        ]
        answers = [
            f"  the real one answers  {self.real[-1]}",
            f"  the model answers     {self.model[-1]}",
        ]
        return "\n".join([*told, *answers, "as a record:", "fresh", *record])


def compare(model: Side, real: Side, steps: Sequence[Step]) -> Difference | None:
    """Play the sequence on both; what they first answer differently ends it."""
    model.begin()
    real.begin()
    said: list[tuple[str, str]] = []
    for step in steps:
        said.append((model.take(step), real.take(step)))
        if said[-1][0] != said[-1][1]:
            by_model, by_real = zip(*said, strict=True)
            return Difference(tuple(steps[: len(said)]), by_model, by_real)
    return None


def shrink(model: Side, real: Side, found: Difference) -> Difference:
    """Leave out one step after the other while there is a difference, whichever."""
    position = len(found.steps) - 1
    while position > 0:
        position -= 1
        shorter = (*found.steps[:position], *found.steps[position + 1 :])
        try:
            difference = compare(model, real, shorter)
        except OSError as error:
            error.add_note("\n".join(["while it was shrunk to", *map(str, shorter)]))
            raise
        if difference is not None:
            found = difference
            position = min(position, len(found.steps) - 1)
    return found
