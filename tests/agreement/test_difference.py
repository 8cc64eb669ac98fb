"""The comparison can fail: models that are wrong on purpose are caught, shrunk and told, within a few sequences."""

import attrs
import pytest

from mpio_fuse.scsi.opcodes import OpCode, PrOut
from mpio_fuse.target.access import LIO_CONFLICTS, NEVER, OTHERS, Situation
from mpio_fuse.target.quirks import LIO, TGT, Quirks, Scsi2
from tests.agreement.difference import compare, shrink
from tests.agreement.generator import last_look
from tests.agreement.model import ModelSide
from tests.agreement.run import ENOUGH_KINDS, Tally, run
from tests.agreement.step import Step
from tests.agreement.targets import EVERYTHING, ON_LOOP
from tests.target.replay import NEXUSES

SEED = 1
WITHIN = 300


def side(quirks: Quirks) -> ModelSide:
    return ModelSide(quirks, NEXUSES)


def tally_of(
    wrong: Quirks, right: Quirks, sequences: int = WITHIN, enough: int = 1
) -> tuple[Tally, list[str]]:
    said: list[str] = []
    tally = run(
        side(wrong), side(right), list(NEXUSES), ON_LOOP,
        seed=SEED, numbers=range(sequences), say=said.append, enough=enough,
    )  # fmt: skip
    return tally, said


def row(action: PrOut, situations: Situation) -> Quirks:
    conflicts = {**LIO_CONFLICTS, (OpCode.PERSISTENT_RESERVE_OUT, action): situations}
    return attrs.evolve(LIO, conflicts=conflicts)


WRONG = {
    "tgt's quirks": TGT,
    "reading is never a conflict": attrs.evolve(
        LIO, conflicts={**LIO_CONFLICTS, (OpCode.READ_10, None): NEVER}
    ),
    "RELEASE conflicts for all but the holder": row(PrOut.RELEASE, OTHERS),
    "unregistering counts": attrs.evolve(LIO, generation_of_unregister=True),
    "attentions are reported one by one": attrs.evolve(LIO, one_report_clears_all=False),
    "a reset waits its turn": attrs.evolve(LIO, attentions_by_priority=False),
    "other attention on reset": attrs.evolve(LIO, was_reset=(0x29, 0x00)),
    "registrants may RESERVE(6)": attrs.evolve(LIO, scsi2=Scsi2.COMPATIBLE),
    "RESERVE takes any key": attrs.evolve(LIO, checks_key_on_reserve=False),
    "our own registration is spared": attrs.evolve(LIO, preempts_own_registration=False),
    "scope before registration": attrs.evolve(LIO, checks_scope_last=False),
    "key 0 preempts nobody": attrs.evolve(LIO, preempts_key_zero_of_nobody=True),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_model_is_caught(wrong: Quirks) -> None:
    tally, said = tally_of(wrong, LIO)
    assert tally.kinds
    assert "the model answers" in said[0]


def test_the_same_model_agrees_with_itself() -> None:
    tally, said = tally_of(LIO, LIO)
    assert (tally.sequences, said) == (WITHIN, [])


def test_a_run_ends_when_it_has_seen_enough() -> None:
    tally, said = tally_of(TGT, LIO, 10_000, ENOUGH_KINDS)
    assert len(said) == len(tally.kinds) == ENOUGH_KINDS
    assert tally.sequences < 1_000


def test_a_difference_is_shrunk_to_what_it_takes() -> None:
    wrong = attrs.evolve(LIO, was_reset=(0x29, 0x00))
    padding = [Step("A2", words) for words in ("sync", "inq", "prout 6 0 0 0xa1", "rcap")]
    steps = [*padding, Step("B1", "lun-reset"), Step("A1", "inq"), *last_look(list(NEXUSES))]
    found = compare(side(wrong), side(LIO), steps)
    assert found is not None
    assert found.steps[-1] == Step("A1", "tur")
    shrunk = shrink(side(wrong), side(LIO), found)
    assert shrunk.steps == (Step("B1", "lun-reset"), Step("A1", "tur"))
    assert (shrunk.model[-1], shrunk.real[-1]) == ("02 6/29/00", "02 6/29/03")
    assert str(shrunk).endswith("fresh\nB1 lun-reset\nA1 tur = 02 6/29/03")


def test_what_only_new_sessions_show_is_caught() -> None:
    menu = attrs.evolve(EVERYTHING, has_ports=False, log_in_again=6)
    wrong = attrs.evolve(LIO, attentions_without_isid=False, conflicts_without_isid=False)
    tally = run(
        side(wrong), side(LIO), list(NEXUSES), menu,
        seed=SEED, numbers=range(WITHIN), say=lambda _text: None, enough=1,
    )  # fmt: skip
    assert tally.kinds
