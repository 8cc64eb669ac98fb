"""The model and the real targets of the lab give the same answers to the same random sequences (`tests.agreement`).

More of them: ``scripts/lab run --fabric loop -- python -m tests.agreement --sequences 10000 --seed 1`` (docs/model.md).
"""

import pytest

from tests.agreement.in_guest import compare_many
from tests.lab.fabric import FabricReport
from tests.lab.lab import Lab

SEED = 20_260


def assert_agree(report: FabricReport, sequences: int) -> None:
    said: list[str] = []
    tally = compare_many(report, seed=SEED, numbers=range(sequences), say=said.append)
    assert not said, f"seed {SEED}\n" + "\n".join(said)
    assert tally.sequences == sequences


@pytest.mark.in_guest
@pytest.mark.fabric(kind="loop")
def test_lio_by_tcm_loop(lab_fabric: FabricReport) -> None:
    assert_agree(lab_fabric, 200)


@pytest.mark.in_guest
@pytest.mark.fabric(kind="iscsi")
def test_lio_by_iscsi_with_preempt_and_abort_and_register_and_move(
    lab_fabric: FabricReport,
) -> None:
    assert_agree(lab_fabric, 120)


@pytest.mark.in_guest
@pytest.mark.fabric(kind="tgt")
def test_tgt(lab_fabric: FabricReport) -> None:
    assert_agree(lab_fabric, 80)


SESSIONS = f"-m tests.agreement --sequences 8 --seed {SEED} --log-in-again 6"


@pytest.mark.fabric(kind="iscsi", hosts=2, underpaths=1)
def test_lio_with_sessions_that_end_and_begin(lab: Lab) -> None:
    """From outside, because the nodes it leaves behind are not those the guest's other tests know."""
    result = lab.python(*SESSIONS.split())
    assert result.status == 0, result.stdout + result.stderr


@pytest.mark.fabric(kind="tgt", hosts=2, underpaths=1)
def test_tgt_with_sessions_that_end_and_begin(lab: Lab) -> None:
    result = lab.python(*SESSIONS.split())
    assert result.status == 0, result.stdout + result.stderr
