"""What holds after every command of every sequence, whatever the array: drawn by Hypothesis, checked after each step.

The reference is as plain as can be: a dictionary of blocks, and counting.
"""

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mpio_fuse.scsi.opcodes import PrOut
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.medium import Kind
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import (
    LIO,
    PER_INITIATOR,
    SCSI_DEBUG,
    SCST,
    SPC,
    TGT,
    VMWARE_RDM,
    Quirks,
)
from mpio_fuse.target.task import Answer

NEXUSES = [Nexus(f"iqn.host-{host}", port) for host in "ab" for port in (1, 2)]
KEYS = (0, 0xA1, 0xB1, 0xC1)
BLOCKS = 8
BLOCK = 512
ALL_QUIRKS = (SPC, LIO, TGT, SCST, SCSI_DEBUG, PER_INITIATOR, VMWARE_RDM)

RAISING = {
    PrOut.REGISTER,
    PrOut.REGISTER_AND_IGNORE_EXISTING_KEY,
    PrOut.CLEAR,
    PrOut.PREEMPT,
    PrOut.PREEMPT_AND_ABORT,
    PrOut.REPLACE_LOST_RESERVATION,
}
"""SPC-4 6.15.2: REGISTER AND MOVE too, which takes a TransportID and is not drawn here."""


@attrs.frozen
class Step:
    """One command of one nexus, or with ``event`` something that happens to the logical unit."""

    nexus: Nexus
    cdb: bytes
    data_out: bytes = b""
    event: str = ""


def pr_out(
    nexus: Nexus, action: PrOut, pr_type: int, key: int, action_key: int, flags: int
) -> Step:
    cdb = bytes((0x5F, action, pr_type)) + bytes(5) + b"\x18\0"
    parameters = key.to_bytes(8, "big") + action_key.to_bytes(8, "big")
    return Step(nexus, cdb, parameters + bytes((0, 0, 0, 0, flags, 0, 0, 0)))


def transfer(nexus: Nexus, opcode: int, lba: int, blocks: int, fill: int) -> Step:
    cdb = bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"
    return Step(nexus, cdb, bytes([fill]) * BLOCK * blocks if opcode == 0x2A else b"")


nexuses = st.sampled_from(NEXUSES)
keys = st.sampled_from(KEYS)
pr_outs = st.builds(
    pr_out,
    nexuses,
    st.sampled_from([action for action in PrOut if action is not PrOut.REGISTER_AND_MOVE]),
    st.sampled_from([*PrType, 6, 6, 6, 0]),
    keys,
    keys,
    st.sampled_from((0, 0, 0, 1, 4)),
)
transfers = st.builds(
    transfer,
    nexuses,
    st.sampled_from((0x28, 0x2A)),
    st.integers(0, BLOCKS),
    st.integers(0, 3),
    st.integers(1, 255),
)
plain = st.builds(
    Step,
    nexuses,
    st.sampled_from(
        [bytes(6), bytes.fromhex("160000000000"), bytes.fromhex("170000000000"), b"\x35" + bytes(9)]
    ),
)
events = st.builds(
    Step,
    nexuses,
    st.just(bytes(6)),
    st.just(b""),
    st.sampled_from(("reset", "power loss", "detach")),
)
sequences = st.lists(st.one_of(pr_outs, pr_outs, transfers, transfers, plain, events), max_size=60)
arrays = st.sampled_from(ALL_QUIRKS)


def run(
    quirks: Quirks, sequence: list[Step], check: Callable[[LogicalUnitModel, Step, Answer], None]
) -> LogicalUnitModel:
    model = LogicalUnitModel(quirks, blocks=BLOCKS)
    for step in sequence:
        match step.event:
            case "reset":
                model.lun_reset(step.nexus)
            case "power loss":
                model.power_loss()
            case "detach":
                model.detach(step.nexus)
        check(model, step, model.execute(step.nexus, step.cdb, step.data_out))
    return model


@given(arrays, sequences)
def test_the_holder_is_registered_and_alone(quirks: Quirks, sequence: list[Step]) -> None:
    def check(model: LogicalUnitModel, _step: Step, _answer: Answer) -> None:
        state = model.persistent
        assert (state.holder is None) == (state.type is None)
        assert state.holder is None or state.holder in state.registered
        assert not any(one.key.is_zero for one in state.registered)
        identities = [one.nexus.identity(quirks.basis) for one in state.registered]
        assert len(set(identities)) == len(identities)
        holders = [one for one in state.registered if state.is_holder(one)]
        is_shared = state.type is not None and state.type.is_all_registrants
        assert is_shared or len(holders) == (state.type is not None)

    run(quirks, sequence, check)


@given(st.sampled_from((SPC, SCST, PER_INITIATOR)), sequences)
def test_the_generation_rises_with_the_right_actions(quirks: Quirks, sequence: list[Step]) -> None:
    before = 0

    def check(model: LogicalUnitModel, step: Step, answer: Answer) -> None:
        nonlocal before
        if step.event == "power loss":
            before = 0
        raises = answer.is_good and step.cdb[0] == 0x5F and step.cdb[1] in RAISING
        assert (model.persistent.generation > before) == raises
        before = model.persistent.generation

    run(quirks, sequence, check)


@given(arrays, sequences)
def test_who_is_not_registered_neither_reads_nor_writes_under_type_6(
    quirks: Quirks, sequence: list[Step]
) -> None:
    def check(model: LogicalUnitModel, step: Step, answer: Answer) -> None:
        state = model.persistent
        is_transfer = step.cdb[0] in {0x28, 0x2A}
        if is_transfer and state.type is PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY:
            assert not answer.is_good or state.of(step.nexus) is not None

    run(quirks, sequence, check)


@given(arrays, sequences)
def test_a_refused_command_changes_nothing(quirks: Quirks, sequence: list[Step]) -> None:
    before: object = None

    def picture(model: LogicalUnitModel) -> object:
        state = model.persistent
        registered = [(one.nexus, one.key, one.all_tg_pt) for one in state.registered]
        holder = None if state.holder is None else state.holder.nexus
        return registered, holder, state.type, state.generation, model.medium.read(0, BLOCKS)

    def check(model: LogicalUnitModel, step: Step, answer: Answer) -> None:
        nonlocal before
        if not answer.is_good and not step.event and before is not None:
            assert picture(model) == before
        before = picture(model)

    run(quirks, sequence, check)


@given(arrays, sequences)
def test_reads_return_what_was_written(quirks: Quirks, sequence: list[Step]) -> None:
    reference = {lba: bytes(BLOCK) for lba in range(BLOCKS)}
    stable = dict(reference)

    def check(_model: LogicalUnitModel, step: Step, answer: Answer) -> None:
        if step.event == "power loss":
            reference.update(stable)
        if not answer.is_good:
            return
        lba, blocks = int.from_bytes(step.cdb[2:6], "big"), int.from_bytes(step.cdb[7:9], "big")
        match step.cdb[0]:
            case 0x28:
                assert answer.data_in == b"".join(reference[at] for at in range(lba, lba + blocks))
            case 0x2A:
                reference.update(
                    {lba + at: step.data_out[at * BLOCK : (at + 1) * BLOCK] for at in range(blocks)}
                )
            case 0x35:
                stable.update(reference)

    model = run(quirks, sequence, check)
    assert model.medium.read(0, BLOCKS) == b"".join(reference.values())
    assert len(model.medium.writes) == sum(
        access.kind is Kind.WRITE for access in model.medium.history
    )


@given(
    st.sampled_from((SPC, SCST, PER_INITIATOR)),
    st.lists(st.one_of(pr_outs, transfers), max_size=40),
    st.lists(st.integers(0, 9), min_size=40, max_size=40),
)
def test_nothing_of_the_victims_is_in_flight_after_preempt_and_abort(
    quirks: Quirks, sequence: list[Step], schedule: list[int]
) -> None:
    """In any interleaving: reads and writes stay in flight until the schedule's number picks them."""
    model = LogicalUnitModel(quirks, blocks=BLOCKS)
    for step, number in zip(sequence, schedule, strict=False):
        task = model.arrive(step.nexus, step.cdb, step.data_out)
        if step.cdb[0] == 0x5F:
            task.perform()
        preempted = task.request.preempted
        for victim in () if preempted is None else preempted.victims:
            for nexus in NEXUSES:
                assert not model.persistent.is_same(victim.nexus, nexus) or not [
                    other for other in model.in_flight(nexus) if other is not task
                ]
        for other in model.tasks[number : number + 1]:
            other.perform()
