"""A seed is one course of events for good."""

import os
import subprocess
import sys

import pytest

from tests.schedules.generator import draw
from tests.schedules.play import be_quiet, play

SEEDS = range(40, 60)
DIGESTS = """
from tests.schedules.generator import draw
from tests.schedules.play import be_quiet, play
be_quiet()
print(*[play(draw(seed)).digest for seed in range({0}, {1})])
"""


def test_a_schedule_is_a_function_of_its_seed() -> None:
    assert [draw(seed) for seed in SEEDS] == [draw(seed) for seed in SEEDS]
    assert len({draw(seed).text for seed in SEEDS}) == len(SEEDS)


def test_the_same_seed_is_the_same_chronicle_in_another_process_whatever_its_hashes() -> None:
    """Twice, since the second process's hashes of texts differ from the first one's, and its addresses from both."""
    digests = {_digests(hash_seed) for hash_seed in ("1", "2")}
    assert len(digests) == 1
    assert len(set(digests.pop().split())) == len(SEEDS)


def _digests(hash_seed: str) -> str:
    source = DIGESTS.format(SEEDS.start, SEEDS.stop)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("seed", [44, 45])
def test_what_was_played_before_makes_no_difference(seed: int) -> None:
    be_quiet()
    alone = play(draw(seed)).digest
    play(draw(seed + 100))
    assert play(draw(seed)).digest == alone
