"""What lasts and what does not: resets, sessions, power; and what happens to commands in flight."""

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.pr_in import decode_capabilities, decode_full_status, decode_keys
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.sense import decode_sense
from mpio_fuse.target.logical_unit import LogicalUnitModel
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
from mpio_fuse.target.refusal import Ending
from mpio_fuse.target.task import Answer, Progress, Task
from tests.target.replay import encode, is_conflict

BLOCK = 512
A1, A2, B1 = Nexus("iqn.host-a", 1), Nexus("iqn.host-a", 2), Nexus("iqn.host-b", 1)
READ = bytes.fromhex("28000000000000000100")
WRITE = bytes.fromhex("2a000000000000000100")
WRITE_FUA = bytes.fromhex("2a080000000000000100")
ONES = b"\x01" * BLOCK


def send(model: LogicalUnitModel, nexus: Nexus, words: str) -> Answer:
    return model.execute(nexus, *encode(words))


def sense_of(answer: Answer) -> tuple[int, int, int]:
    return decode_sense(answer.sense).code


def held(quirks: Quirks = SPC, flags: int = 0, pr_type: int = 6) -> LogicalUnitModel:
    """A1 and A2 registered with a1, B1 with b1, and A1 holds."""
    model = LogicalUnitModel(quirks)
    for nexus, key in ((A1, "0xa1"), (A2, "0xa1"), (B1, "0xb1")):
        while not send(model, nexus, "tur").is_good:
            pass
        assert send(model, nexus, f"prout 6 0 0 {key} {flags}").is_good
    assert send(model, A1, f"prout 1 {pr_type} 0xa1").is_good
    return model


def first_byte(model: LogicalUnitModel) -> int:
    return model.medium.read(0, 1)[0]


def test_power_loss_without_aptpl_forgets_everything() -> None:
    model = held()
    model.power_loss()
    assert model.persistent.registered == []
    assert model.persistent.type is None
    assert model.persistent.generation == 0
    assert sense_of(send(model, B1, "tur")) == (0x6, 0x29, 0x01)
    assert send(model, B1, "read").is_good


def test_power_loss_that_nobody_announces() -> None:
    """Measured: LIO killed and restarted without APTPL shows no unit attention, and lets every host in."""
    model = held(LIO)
    model.power_loss(announced=False)
    assert send(model, B1, "tur").is_good
    assert send(model, Nexus("iqn.stranger", 1), "write").is_good


def test_aptpl_carries_registrations_and_reservation_through() -> None:
    model = held(flags=1)
    assert decode_capabilities(
        send(model, A1, "prin 2").data_in
    ).is_persist_through_power_loss_active
    model.power_loss(announced=False)
    assert len(model.persistent.registered) == 3
    assert send(model, Nexus("iqn.stranger", 1), "read").status is Status.RESERVATION_CONFLICT
    assert send(model, B1, "read").is_good


def test_the_last_registration_decides_about_aptpl() -> None:
    """SPC-4 5.13.5: a REGISTER without APTPL turns it off for all."""
    model = held(flags=1)
    assert send(model, B1, "prout 6 0 0 0xb1 0").is_good
    model.power_loss()
    assert model.persistent.registered == []


@pytest.mark.parametrize("write", [WRITE, WRITE_FUA], ids=["cached", "FUA"])
@pytest.mark.parametrize("synchronized", [False, True])
def test_power_loss_loses_what_was_not_synchronized(write: bytes, *, synchronized: bool) -> None:
    model = LogicalUnitModel(SPC)
    assert model.execute(A1, write, ONES).is_good
    if synchronized:
        assert send(model, A1, "sync").is_good
    assert first_byte(model) == 1
    model.power_loss()
    assert first_byte(model) == (write is WRITE_FUA or synchronized)


def test_a_cached_write_over_a_stable_one_is_turned_back() -> None:
    model = LogicalUnitModel(SPC)
    model.execute(A1, WRITE_FUA, ONES)
    model.execute(A1, WRITE, b"\x02" * BLOCK)
    assert model.medium.unsynchronized_blocks == 1
    model.power_loss()
    assert first_byte(model) == 1


def test_a_write_with_fua_is_read_back_over_a_cached_one() -> None:
    model = LogicalUnitModel(SPC)
    model.execute(A1, WRITE, ONES)
    model.execute(A1, WRITE_FUA, b"\x02" * BLOCK)
    assert first_byte(model) == 2


def test_without_a_volatile_cache_nothing_is_lost() -> None:
    model = LogicalUnitModel(SPC, has_volatile_cache=False)
    model.execute(A1, WRITE, ONES)
    model.power_loss()
    assert first_byte(model) == 1


def test_lun_reset_keeps_registrations_frees_reserve_6_and_aborts() -> None:
    model = LogicalUnitModel(SPC)
    assert send(model, A1, "res6").is_good
    assert send(model, B1, "read").status is Status.RESERVATION_CONFLICT
    task = model.arrive(A1, WRITE, ONES)
    model.lun_reset(B1)
    assert task.progress is Progress.ABORTED
    assert task.answer == Answer(Status.TASK_ABORTED)
    assert first_byte(model) == 0
    assert sense_of(send(model, B1, "read")) == (0x6, 0x29, 0x03)
    assert send(model, B1, "read").is_good
    model = held()
    model.lun_reset()
    assert len(model.persistent.registered) == 3


def test_tgt_confirms_a_reset_when_the_commands_have_ended() -> None:
    """Measured over a backing store that held the writes: all ended GOOD, then the reset was confirmed."""
    model = LogicalUnitModel(TGT)
    assert sense_of(send(model, A1, "read")) == (0x6, 0x29, 0x00), "its session is new"
    task = model.arrive(A1, WRITE, ONES)
    model.lun_reset(A1)
    assert task.answer == Answer()
    assert sense_of(send(model, A1, "read")) == (0x6, 0x29, 0x00)
    assert first_byte(model) == 1


def test_scsi_debug_confirms_a_reset_and_goes_on() -> None:
    """Measured: reads of 0.9 s ended GOOD, 0.6 s after a reset had been confirmed."""
    model = LogicalUnitModel(SCSI_DEBUG)
    task = model.arrive(A1, WRITE, ONES)
    model.lun_reset(A1)
    assert task.is_in_flight
    assert sense_of(send(model, A1, "read")) == (0x6, 0x29, 0x00)
    assert task.perform() == Answer()
    assert first_byte(model) == 1


def test_ones_own_reset_aborts_in_silence() -> None:
    model = LogicalUnitModel(SPC)
    task = model.arrive(A1, WRITE, ONES)
    model.lun_reset(A1)
    assert task.progress is Progress.ABORTED
    assert task.perform() is None
    assert first_byte(model) == 0


def test_two_reserve_6_that_both_arrived_do_not_both_hold() -> None:
    model = LogicalUnitModel(SPC)
    tasks = [model.arrive(nexus, *encode("res6")) for nexus in (A1, B1)]
    answers = [task.perform() for task in tasks]
    assert answers == [Answer(), Answer(Status.RESERVATION_CONFLICT)]
    assert send(model, A1, "write").is_good


def test_the_same_unit_attention_waits_once_and_others_in_their_order() -> None:
    model = held()
    for _ in range(2):
        assert send(model, A1, "prout 2 6 0xa1").is_good
        assert send(model, A1, "prout 1 6 0xa1").is_good
    assert send(model, A1, "prout 4 6 0xa1 0xb1").is_good
    assert [sense_of(send(model, B1, "tur")) for _ in range(2)] == [
        (6, 0x2A, 0x04),
        (6, 0x2A, 0x05),
    ]
    assert send(model, B1, "tur").is_good


def test_the_end_of_a_session_frees_reserve_6() -> None:
    model = LogicalUnitModel(SPC)
    send(model, A1, "res6")
    model.detach(A1)
    assert send(model, B1, "read").is_good


def test_nexus_loss_is_told_and_keeps_the_registration() -> None:
    model = held()
    model.nexus_loss(A1)
    assert sense_of(send(model, A1, "tur")) == (0x6, 0x29, 0x07)
    assert send(model, A1, "read").is_good


def in_flight(model: LogicalUnitModel, nexus: Nexus) -> Task:
    task = model.arrive(nexus, WRITE, ONES)
    assert task.is_in_flight
    return task


def test_preempt_leaves_commands_in_flight() -> None:
    model = held()
    task = in_flight(model, A2)
    assert send(model, B1, "prout 4 6 0xb1 0xa1").is_good
    answer = task.perform()
    assert answer is not None
    assert answer.is_good
    assert first_byte(model) == 1
    landed = model.medium.writes[0]
    assert (landed.nexus, landed.arrived < landed.step) == (A2, True)


def test_preempt_and_abort_stops_the_victims_and_nobody_else() -> None:
    model = held()
    victims = [in_flight(model, A1), in_flight(model, A2)]
    own = in_flight(model, B1)
    assert send(model, B1, "prout 5 6 0xb1 0xa1").is_good
    assert [task.answer for task in victims] == [Answer(Status.TASK_ABORTED)] * 2
    assert own.is_in_flight
    assert [task.perform() for task in victims] == [Answer(Status.TASK_ABORTED)] * 2
    assert first_byte(model) == 0


def test_lio_aborts_all_that_arrived_under_the_holders_key_and_waits_for_it() -> None:
    """Measured: a registrant that nobody preempted got 40h too."""
    model = held(LIO)
    assert send(model, A2, "prout 6 0 0 0xa2").is_good
    tasks = [in_flight(model, A1), in_flight(model, A2)]
    assert send(model, B1, "prout 5 6 0xb1 0xa1").is_good
    assert [task.answer for task in tasks] == [Answer(Status.TASK_ABORTED)] * 2
    assert first_byte(model) == 1


@pytest.mark.parametrize("is_reserved", [True, False])
def test_on_lio_preempt_and_abort_of_who_does_not_hold_aborts_nothing(*, is_reserved: bool) -> None:
    """Measured: the victim's write ended GOOD 2.5 s after PREEMPT AND ABORT had returned."""
    model = held(LIO)
    assert send(model, A2, "prout 6 0 0 0xa2").is_good
    if not is_reserved:
        assert send(model, A1, "prout 2 6 0xa1").is_good
        assert sense_of(send(model, A2, "tur")) == (0x6, 0x2A, 0x04)
        assert sense_of(send(model, B1, "tur")) == (0x6, 0x2A, 0x04)
    ghost = in_flight(model, A2)
    assert send(model, B1, "prout 5 6 0xb1 0xa2").is_good
    assert model.persistent.of(A2) is None
    assert ghost.perform() == Answer()
    assert first_byte(model) == 1


def test_aborting_ones_own_key_ends_a_ghost() -> None:
    """The way out for the host that holds, over a second underpath of its own."""
    model = held()
    ghost = in_flight(model, A1)
    assert send(model, A2, "prout 5 6 0xa1 0xa1").is_good
    assert not ghost.is_in_flight
    assert model.persistent.of(A1) is None
    assert sense_of(send(model, A1, "tur")) == (0x6, 0x2A, 0x05)


@pytest.mark.parametrize("quirks", [TGT, VMWARE_RDM], ids=lambda quirks: quirks.name)
def test_without_preempt_and_abort_it_is_an_illegal_request(quirks: Quirks) -> None:
    model = held(quirks)
    assert sense_of(send(model, B1, "prout 5 6 0xb1 0xa1")) == (0x5, 0x24, 0x00)
    assert send(model, B1, "prout 4 6 0xb1 0xa1").is_good


def test_scst_reports_the_conflict_before_the_unit_attention() -> None:
    model = held(SCST)
    assert send(model, A1, "prout 4 6 0xa1 0xb1").is_good
    assert send(model, B1, "read").status is Status.RESERVATION_CONFLICT
    assert sense_of(send(model, B1, "tur")) == (0x6, 0x2A, 0x05)


def test_a_registration_of_the_initiator_serves_all_its_ports() -> None:
    """One key in the list for two underpaths."""
    model = held(PER_INITIATOR)
    assert len(model.persistent.registered) == 2
    assert send(model, A2, "write").is_good
    assert send(model, A2, "prout 2 6 0xa1").is_good
    assert model.persistent.type is None


def test_one_isid_does_not_stand_for_another() -> None:
    model = held(LIO)
    other = Nexus(A1.initiator_name, A1.target_port, isid="800000000001")
    assert send(model, other, "read").status is Status.RESERVATION_CONFLICT


def test_lio_takes_isids_that_begin_alike_for_the_holder_until_it_is_to_change_something() -> None:
    """Seen with two sessions of open-iscsi, by one initiator through one portal."""
    model = held(LIO)
    other = Nexus(A1.initiator_name, A1.target_port, isid=A1.isid[:8] + "0fff")
    assert send(model, other, "read").is_good
    assert send(model, other, "write").is_good
    assert sense_of(send(model, other, "prout 2 6 0xa1")) == (0x2, 0x08, 0x00)
    assert is_conflict(send(model, other, "prout 4 6 0xa1 0xb1"))


def test_lio_forgets_that_a_port_is_registered_with_the_first_of_its_registrations() -> None:
    model = held(LIO)
    again = Nexus(B1.initiator_name, B1.target_port, isid=B1.isid[:8] + "0fff")
    assert send(model, again, "read").is_good
    assert send(model, again, "prout 6 0 0 0xb2").is_good
    assert send(model, again, "prout 6 0 0 0").is_good
    assert is_conflict(send(model, B1, "read"))
    assert decode_keys(send(model, A1, "keys").data_in).keys


def test_scsi_debug_has_no_persistent_reserve_and_enforces_nothing() -> None:
    model = LogicalUnitModel(SCSI_DEBUG)
    assert sense_of(send(model, A1, "prin 0")) == (0x5, 0x20, 0x00)
    assert sense_of(send(model, A1, "prout 6 0 0 0xa1")) == (0x5, 0x20, 0x00)
    assert send(model, A1, "res6").is_good
    assert send(model, B1, "res6").is_good
    assert send(model, B1, "write").is_good


def test_compatible_reservation_handling_lets_registrants_have_their_way() -> None:
    """GOOD, and nothing happens."""
    model = held(SPC)
    assert send(model, B1, "res6").is_good
    assert send(model, A1, "write").is_good
    assert send(model, Nexus("iqn.stranger", 1), "res6").status is Status.RESERVATION_CONFLICT


def test_replace_lost_reservation_starts_over() -> None:
    model = held(SPC)
    stranger = Nexus("iqn.stranger", 1)
    assert sense_of(send(model, stranger, "prout 8 6 0xbad 0xc1")) == (0x5, 0x26, 0x00)
    assert send(model, stranger, "prout 8 6 0 0xc1").is_good
    status = decode_full_status(send(model, stranger, "prin 3").data_in)
    assert [(int(one.key), one.is_holder) for one in status.registrants] == [(0xC1, True)]
    assert sense_of(send(held(LIO), A1, "prout 8 6 0 0xc1")) == (0x5, 0x24, 0x00)
    assert is_conflict(send(held(LIO), stranger, "prout 8 6 0 0xc1"))


def test_full_status_names_every_nexus() -> None:
    status = decode_full_status(send(held(pr_type=8), B1, "prin 3").data_in)
    assert [one.transport_id for one in status.registrants] == [
        nexus.transport_id for nexus in (A1, A2, B1)
    ]
    assert [one.relative_target_port for one in status.registrants] == [1, 2, 1]
    assert {one.type for one in status.registrants} == {PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS}


def test_the_generation_wraps() -> None:
    """It resets and wraps: compare it for inequality only."""
    model = held()
    model.persistent.generation = 0xFFFF_FFFF
    assert send(model, A1, "prout 6 0 0 0xa1").is_good
    assert model.persistent.generation == 0


@pytest.mark.parametrize(
    "cdb",
    [
        "5f0000000000000018",  # one byte short
        "5f060000000000002000",  # more parameters than were sent
        "5e0000000000000007",
        "280000",
        "9e",
        "ff",
    ],
)
def test_malformed_commands_are_refused(cdb: str) -> None:
    for quirks in (SPC, LIO, TGT):
        model = LogicalUnitModel(quirks)
        send(model, A1, "tur")
        answer = model.execute(A1, bytes.fromhex(cdb), bytes(24))
        assert decode_sense(answer.sense).key == 0x5


def test_a_cdb_has_bytes() -> None:
    with pytest.raises(UsageError):
        LogicalUnitModel().execute(A1, b"")


@pytest.mark.parametrize("lengths", ["00000004", "ffffffff", "00000060"])
def test_hostile_transport_ids_are_refused(lengths: str) -> None:
    model = LogicalUnitModel(SPC)
    body = bytes(8) + b"\0" * 7 + b"\xa1" + bytes((0, 0, 0, 0, 8, 0, 0, 0))
    body += bytes.fromhex(lengths) + b"\x45\0\xff\xff"
    cdb = bytes((0x5F, 0, 0, 0, 0)) + len(body).to_bytes(4, "big") + b"\0"
    assert sense_of(model.execute(A1, cdb, body)) == (0x5, 0x26, 0x00)
    assert model.persistent.registered == []


def test_interference_ends_the_commands_it_names_and_no_more() -> None:
    model = LogicalUnitModel()
    model.interfere(Ending(Status.BUSY), count=2, opcode=OpCode.READ_10, nexus=A1)
    statuses = [send(model, nexus, "read").status for nexus in (B1, A1, A1, A1)]
    assert send(model, A1, "tur").is_good
    assert statuses == [Status.GOOD, Status.BUSY, Status.BUSY, Status.GOOD]


def test_resizing_is_told() -> None:
    model = LogicalUnitModel()
    send(model, A1, "tur")
    model.resize(16)
    assert sense_of(send(model, A1, "tur")) == (0x6, 0x2A, 0x09)
    assert send(model, A1, "rcap").data_in == bytes.fromhex("0000000f00000200")


def test_write_protect_and_bad_blocks() -> None:
    model = LogicalUnitModel()
    model.medium.bad_blocks.add(0)
    sense = decode_sense(send(model, A1, "read").sense)
    assert (sense.code, sense.information) == ((0x3, 0x11, 0x00), 0)
    model.medium.is_write_protected = True
    assert sense_of(send(model, A1, "write")) == (0x7, 0x27, 0x00)
    model.medium.is_write_protected = False
    assert send(model, A1, "write").is_good
    assert send(model, A1, "read").is_good


def test_the_log_tells_every_command_in_order() -> None:
    model = LogicalUnitModel()
    send(model, A1, "tur")
    send(model, B1, "read")
    assert [(entry.nexus, entry.cdb[0]) for entry in model.log] == [(A1, 0x00), (B1, 0x28)]
    assert model.tasks == []
