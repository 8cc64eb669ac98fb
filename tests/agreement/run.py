"""Many sequences, one after the other, and what came of them."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from tests.agreement.difference import Difference, compare, shrink
from tests.agreement.generator import Menu, sequence
from tests.agreement.side import Side
from tests.agreement.step import Step

ENOUGH_KINDS = 10


@attrs.define
class Tally:
    """What a run has seen.  ``kinds`` counts the sequences for each kind of difference."""

    sequences: int = 0
    commands: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = attrs.Factory(Counter)
    answers: Counter[str] = attrs.Factory(Counter)
    """How often each verb ended how."""


class Counting:
    """A side that counts its answers on the way."""

    def __init__(self, side: Side, tally: Tally) -> None:
        self._side = side
        self._tally = tally

    def begin(self) -> None:
        self._side.begin()

    def take(self, step: Step) -> str:
        answer = self._side.take(step)
        self._tally.commands += 1
        ending = "02 " + answer.split()[1] if answer.startswith("02 ") else answer[:2]
        self._tally.answers[f"{step.verb} = {ending}"] += 1
        return answer


def run(
    model: Side,
    real: Side,
    names: Sequence[str],
    menu: Menu,
    *,
    seed: int,
    numbers: range,
    say: Callable[[str], None],
    enough: int = ENOUGH_KINDS,
) -> Tally:
    """Compare these sequences; each new kind of difference is shrunk and told, until there are enough."""
    tally = Tally()
    counting = Counting(real, tally)
    begun_s = time.monotonic()
    for number in numbers:
        steps = sequence(seed, number, names, menu)
        try:
            found = compare(model, counting, steps)
        except OSError as error:
            error.add_note("\n".join([f"seed {seed}, sequence {number}:", *map(str, steps)]))
            raise
        tally.sequences += 1
        if found is not None:
            _tell(model, real, found, tally, f"seed {seed}, sequence {number}", say)
        if len(tally.kinds) >= enough:
            break
    tally.seconds = time.monotonic() - begun_s
    return tally


def _tell(
    model: Side, real: Side, found: Difference, tally: Tally, where: str, say: Callable[[str], None]
) -> None:
    shrunk = shrink(model, real, found)
    tally.kinds[shrunk.kind] += 1
    if tally.kinds[shrunk.kind] == 1:
        say(f"{where}: {shrunk.kind}\n{shrunk}\n")
