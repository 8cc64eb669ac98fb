"""Sequences are the same for the same seed, and ask what they are meant to ask."""

from collections import Counter

import attrs

from tests.agreement.generator import LONGEST, SHORTEST, Menu, last_look, sequence
from tests.agreement.model import ModelSide
from tests.agreement.run import Counting, Tally
from tests.agreement.step import LOG_IN_AGAIN, LUN_RESET, Step, in_words
from tests.agreement.targets import EVERYTHING, ON_LOOP, ON_TGT, TARGETS
from tests.lab.fabric import FabricKind
from tests.target.replay import NEXUSES

NAMES = list(NEXUSES)


def verbs(menu: Menu, sequences: int = 400) -> Counter[str]:
    steps = [step for number in range(sequences) for step in sequence(1, number, NAMES, menu)]
    return Counter(step.verb for step in steps)


def test_the_same_seed_is_the_same_sequence() -> None:
    """Written down: a seed in a report must name that sequence next year too."""
    assert sequence(7, 3, NAMES, ON_LOOP) == sequence(7, 3, NAMES, ON_LOOP)
    assert sequence(7, 3, NAMES, ON_LOOP) != sequence(7, 4, NAMES, ON_LOOP)
    assert sequence(8, 3, NAMES, ON_LOOP) != sequence(7, 3, NAMES, ON_LOOP)
    drawn = [str(step) for step in sequence(7, 3, NAMES, ON_LOOP)]
    assert drawn[:4] == FIRST_OF_7_3


FIRST_OF_7_3 = [
    "A2 prout 0 0 0x0 0xa1 0x0",
    "B1 prout 0 0 0x0 0xa1 0x0",
    "A2 keys",
    "A2 prout 4 7 0xa1 0xa1",
]


def test_length_and_last_look() -> None:
    look = last_look(NAMES)
    for number in range(50):
        steps = sequence(1, number, NAMES, EVERYTHING)
        assert SHORTEST <= len(steps) - len(look) <= len(NAMES) + LONGEST
        assert list(steps[-len(look) :]) == look


def test_every_kind_of_step_comes() -> None:
    drawn = verbs(attrs.evolve(EVERYTHING, log_in_again=1))
    wanted = {f"prout {action}" for action in range(7)} | {f"prin {action}" for action in range(5)}
    wanted |= {"keys", "reservation", "read", "write", "sync", "tur", "rcap", "rcap16", "modes"}
    wanted |= {"res6", "rel6", "move", "spec", "list", LUN_RESET, LOG_IN_AGAIN}
    assert wanted <= set(drawn)


def test_what_hangs_or_kills_a_target_is_not_sent_to_it() -> None:
    """PREEMPT AND ABORT hangs tcm_loop; REGISTER AND MOVE kills tgtd."""
    assert TARGETS[FabricKind.LOOP].menu == ON_LOOP
    assert TARGETS[FabricKind.TGT].menu == ON_TGT
    assert "prout 5" not in verbs(ON_LOOP)
    assert "move" not in verbs(ON_TGT)


def test_most_kinds_of_command_succeed_often_enough_to_tell_something() -> None:
    tally = Tally()
    side = Counting(ModelSide(TARGETS[FabricKind.LOOP].quirks, NEXUSES), tally)
    for number in range(400):
        side.begin()
        for step in sequence(1, number, NAMES, ON_LOOP):
            side.take(step)
    for action in (0, 1, 2, 3, 4, 6):
        assert tally.answers[f"prout {action} = 00"] >= 20, action
        # Only RESERVE(6) refuses REGISTER AND IGNORE EXISTING KEY.
        assert tally.answers[f"prout {action} = 18"] >= (3 if action == 6 else 10), action
    assert tally.answers["read = 18"] >= 50
    assert tally.answers["write = 18"] >= 10


def test_words_for_people() -> None:
    assert in_words(Step("A1", "prout 4 22 0xa1 0xb1 1")) == (
        "A1 PREEMPT key 0xa1 action key 0xb1, EXCLUSIVE ACCESS REGISTRANTS ONLY, scope 1, flags 0x1"
    )
    assert in_words(Step("B2", "prin 0 12")) == "B2 READ KEYS, allocation length 12"
    assert in_words(Step("B2", "lun-reset")) == "B2 lun-reset"
