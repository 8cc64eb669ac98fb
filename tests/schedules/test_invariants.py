"""Each invariant, broken by hand in a chronicle of a few lines; and the same with the break taken out."""

import pytest

from mpio_fuse.reserve.fig07_decision import OpenOption
from tests.schedules.chronicle import (
    Asked,
    Began,
    Chronicle,
    Ended,
    FencedHost,
    Granted,
    Kind,
    Landed,
    Outcome,
    Over,
    PowerLost,
    ReserveOut,
    Sent,
    Settled,
    Swapped,
    Warned,
)
from tests.schedules.invariants import INVARIANTS, check
from tests.schedules.stamps import CELLS, OTHER_DISK

NO_RESERVE = OpenOption.NO_RESERVE


class Told(Chronicle):
    """A chronicle told by hand; every record is a step of the array and a second of time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s, lambda: len(self.records))

    def begin(self, request: int, kind: Kind, host: str = "a", **facts: object) -> None:
        self.add(Began, request=request, kind=kind, host=host, life=1, **facts)

    def end(self, request: int, outcome: Outcome = Outcome.OK, **facts: object) -> None:
        self.add(Ended, request=request, outcome=outcome, **facts)

    def grant(self, handle: int, host: str = "a", options: OpenOption = OpenOption.DEFAULT) -> None:
        self.begin(100 + handle, Kind.OPEN, host, handle=handle)
        if options != NO_RESERVE:
            self.reserve_out("RESERVE", host, after=host)
        self.add(Granted, host=host, life=1, handle=handle, options=options)
        self.end(100 + handle)

    def reserve_out(
        self, action: str, host: str, *, before: str = "", after: str = "", of_key: str = ""
    ) -> None:
        self.add(
            ReserveOut,
            host=host,
            port=1,
            action=action,
            arrived=len(self.records),
            of_key=of_key,
            held_before=before,
            held_after=after,
            registered=(),
        )

    def land(self, stamp: int, host: str = "a", held_by: str = "a", **facts: object) -> None:
        given = {"arrived": len(self.records), "sent": len(self.records), "first_cell": 0}
        self.add(
            Landed, host=host, port=1, held_by=held_by, stamps=(stamp, stamp), **{**given, **facts}
        )

    def begin_write(self, request: int, handle: int = 1, host: str = "a") -> None:
        self.begin(request, Kind.WRITE, host, handle=handle, cells=range(2))

    def write(self, request: int, handle: int = 1, host: str = "a") -> None:
        self.begin_write(request, handle, host)
        self.land(request, host, host)
        self.end(request)

    @property
    def broken(self) -> set[int]:
        return {one.invariant for one in check(self.records)}


@pytest.fixture
def told() -> Told:
    """Host a has the disk open."""
    chronicle = Told()
    chronicle.grant(1)
    return chronicle


def test_every_invariant_has_a_number() -> None:
    assert list(INVARIANTS) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.ERROR, Outcome.CRASHED])
def test_1_an_older_write_lands_over_a_newer_one(told: Told, outcome: Outcome) -> None:
    told.begin_write(1)
    told.land(1)
    told.end(1, outcome)
    told.write(2)
    assert told.broken == set()
    told.land(1)
    assert told.broken == {1}


def test_1_writes_that_overlap_in_time_may_land_in_any_order_until_they_have_ended(
    told: Told,
) -> None:
    told.begin_write(1)
    told.begin_write(2)
    told.land(2)
    told.land(1)
    told.land(2)
    told.end(1)
    told.end(2)
    assert told.broken == set()
    told.land(1)
    assert told.broken == {1}


def test_1_an_acknowledged_write_is_there(told: Told) -> None:
    told.write(1)
    told.begin_write(2)
    told.end(2)
    assert told.broken == {1}


def test_1_what_ended_in_an_error_may_come_late_but_not_over_newer_data(told: Told) -> None:
    told.begin_write(1)
    told.end(1, Outcome.ERROR)
    told.land(1)
    assert told.broken == set()


def test_1_without_a_reservation_an_old_copy_may_come(told: Told) -> None:
    """The weaker promise; while somebody of ours holds the disk it is none."""
    told.grant(2, options=NO_RESERVE)
    told.begin_write(1, 2)
    told.end(1, Outcome.ERROR)
    told.write(2, 2)
    told.land(1, held_by="")
    assert told.broken == set()
    told.land(2)
    told.land(1, held_by="a")
    assert told.broken == {1}


@pytest.mark.parametrize("held_by", ["", "b"])
def test_1_while_nobody_holds_the_disk_nothing_keeps_out_what_another_host_sent_before(
    told: Told, held_by: str
) -> None:
    told.begin_write(1)
    told.end(1, Outcome.CRASHED)
    told.reserve_out("PREEMPT_AND_ABORT", "b", before="a", after="b", of_key="a")
    told.grant(2, "b")
    told.write(2, 2, "b")
    told.land(1, held_by=held_by, sent=2)
    assert (1 in told.broken) is bool(held_by)


@pytest.mark.parametrize("is_durable", [False, True])
def test_1_what_was_flushed_or_written_durably_survives_a_power_loss(
    told: Told, *, is_durable: bool
) -> None:
    told.begin(1, Kind.WRITE, handle=1, cells=range(2), is_durable=is_durable)
    told.land(1)
    told.end(1)
    told.add(PowerLost, stamps=(0,) * CELLS, keeps=True)
    assert told.broken == ({1} if is_durable else set())


def test_1_a_flush_tells_the_truth(told: Told) -> None:
    told.write(1)
    told.begin(2, Kind.FLUSH, handle=1)
    told.end(2, found=(1, 1, *(0,) * (CELLS - 2)))
    assert told.broken == set()
    told.write(3)
    told.begin(4, Kind.FLUSH, handle=1)
    told.end(4, found=(1, 1, *(0,) * (CELLS - 2)))
    assert told.broken == {1}


def test_2_nothing_lands_after_another_host_was_granted_the_disk(told: Told) -> None:
    told.begin_write(1)
    told.land(1)
    told.grant(2, "b")
    assert told.broken == set()
    told.land(1, held_by="b")
    assert told.broken == {2}


@pytest.mark.parametrize("action", ["PREEMPT", "PREEMPT_AND_ABORT"])
def test_2_what_was_at_the_array_when_it_was_preempted_lands_unless_it_was_to_be_aborted(
    told: Told, action: str
) -> None:
    told.begin_write(1)
    arrived = len(told.records)
    told.reserve_out(action, "x", before="a", after="x", of_key="a")
    told.land(1, held_by="a", arrived=arrived)
    assert told.broken == ({2} if action == "PREEMPT_AND_ABORT" else set())


def test_2_what_comes_after_a_preempt_is_refused(told: Told) -> None:
    told.begin_write(1)
    told.reserve_out("PREEMPT", "x", before="a", after="x", of_key="a")
    told.land(1, held_by="x")
    assert told.broken == {2}


def test_2_what_nobody_could_refuse_may_land_until_its_host_was_told(told: Told) -> None:
    told.begin_write(1)
    told.reserve_out("CLEAR", "x", before="a")
    told.land(1, held_by="")
    assert told.broken == set()
    told.add(Warned, host="a", port=1)
    told.land(1, held_by="")
    assert told.broken == {2}


@pytest.mark.parametrize("is_opening", [False, True])
def test_2_nothing_but_an_open_registers_who_was_preempted_and_knows(
    told: Told, *, is_opening: bool
) -> None:
    told.reserve_out("PREEMPT_AND_ABORT", "x", before="a", after="x", of_key="a")
    told.add(Asked, host="a")
    if is_opening:
        told.begin(1, Kind.OPEN)
    told.reserve_out("REGISTER", "a", before="x", after="x", of_key="a")
    assert told.broken == (set() if is_opening else {2})


@pytest.mark.parametrize(
    ("registered", "by_array", "life"), [(False, True, 1), (True, False, 1), (True, True, 2)]
)
def test_3_data_go_out_registered_and_granted(
    told: Told, *, registered: bool, by_array: bool, life: int
) -> None:
    facts = {"host": "a", "port": 1, "name": "READ(10)"}
    told.add(Sent, life=1, registered=True, told=True, **facts)
    assert told.broken == set()
    told.add(Sent, life=life, registered=registered, told=by_array, **facts)
    assert told.broken == {3}


def test_4_no_release_under_an_open_handle(told: Told) -> None:
    told.begin(1, Kind.CLOSE, handle=1)
    told.reserve_out("RELEASE", "a", before="a")
    told.end(1)
    assert told.broken == set()
    told.grant(2)
    told.reserve_out("REGISTER", "a", before="a")
    assert told.broken == {4}


@pytest.mark.parametrize("options", [OpenOption.DEFAULT, OpenOption.RETAIN_RESERVATION])
def test_4_when_all_is_closed_only_a_retained_reservation_is_left(options: OpenOption) -> None:
    told = Told()
    told.grant(1, options=options)
    told.begin(1, Kind.CLOSE, handle=1)
    told.end(1)
    told.add(Settled, held_by="a", pending=(), cut_off=())
    assert told.broken == ({4} if options == OpenOption.DEFAULT else set())


def test_5_who_was_fenced_is_told_so_for_good(told: Told) -> None:
    told.reserve_out("PREEMPT_AND_ABORT", "x", before="a", after="x", of_key="a")
    told.add(FencedHost, host="a", life=1)
    for request, outcome in enumerate([Outcome.FENCED, Outcome.FENCED], 1):
        told.begin(request, Kind.FLUSH, handle=1)
        told.end(request, outcome)
    assert told.broken == set()
    told.begin(9, Kind.READ, handle=1, cells=range(0))
    told.end(9, Outcome.ERROR)
    assert told.broken == {5}


def test_5_nobody_is_fenced_for_nothing(told: Told) -> None:
    told.reserve_out("REGISTER", "b", before="a", after="a", of_key="b")
    told.add(FencedHost, host="a", life=1)
    assert told.broken == {5}


def test_6_a_request_that_takes_for_ever(told: Told) -> None:
    told.begin(1, Kind.OPEN)
    told.now_s = 10_000.0
    told.end(1)
    assert told.broken == {6}


def test_6_a_request_that_never_ends(told: Told) -> None:
    told.begin(1, Kind.OPEN)
    told.add(Settled, held_by="a", pending=(1,), cut_off=("a",))
    assert told.broken == {6}


def test_6_an_error_that_is_none_of_ours(told: Told) -> None:
    told.begin(1, Kind.OPEN)
    told.end(1, Outcome.BUG, told="KeyError('x')")
    assert told.broken == {6}


def test_7_what_is_read_is_what_was_written_last(told: Told) -> None:
    told.write(1)
    told.write(2)
    for request, stamp in enumerate([2, 1], 3):
        told.begin(request, Kind.READ, handle=1, cells=range(2))
        told.end(request, found=(stamp, stamp))
        assert told.broken == ({7} if stamp == 1 else set())


def test_7_nothing_of_another_disk(told: Told) -> None:
    told.begin(1, Kind.READ, handle=1, cells=range(2))
    told.end(1, found=(OTHER_DISK, OTHER_DISK))
    assert told.broken == {7}


def test_7_no_data_for_another_disk_once_its_host_was_told(told: Told) -> None:
    told.add(Swapped, host="a", port=1)
    told.begin_write(1)
    told.land(1, is_other_disk=True)
    assert told.broken == set()
    told.add(Warned, host="a", port=1)
    told.add(Asked, host="a")
    told.land(1, is_other_disk=True)
    assert told.broken == {7}


def test_8_the_last_open_works(told: Told) -> None:
    told.begin(1, Kind.OPEN, is_epilogue=True)
    told.end(1, Outcome.ERROR, told="refused")
    assert told.broken == {8}


def test_8_nothing_is_left(told: Told) -> None:
    told.add(Over, held_by="", registered=(), forlorn=(), cut_off=())
    assert told.broken == set()
    told.add(Over, held_by="", registered=("a",), forlorn=(), cut_off=())
    assert told.broken == {8}


@pytest.mark.parametrize(("action", "is_cause"), [("REGISTER", True), ("RELEASE", False)])
def test_5_a_grant_without_reservation_ends_by_what_raises_the_generation(
    action: str, *, is_cause: bool
) -> None:
    told = Told()
    told.grant(1, options=NO_RESERVE)
    told.reserve_out(action, "b", of_key="b")
    told.add(FencedHost, host="a", life=1)
    assert told.broken == (set() if is_cause else {5})


def test_5_what_came_before_the_open_is_no_cause() -> None:
    told = Told()
    told.reserve_out("REGISTER", "b", of_key="b")
    told.grant(1, options=NO_RESERVE)
    told.add(FencedHost, host="a", life=1)
    assert told.broken == {5}


@pytest.mark.parametrize("keeps", [True, False])
def test_5_a_power_loss_that_kept_everything_is_no_cause(told: Told, *, keeps: bool) -> None:
    told.add(PowerLost, stamps=(0,) * CELLS, keeps=keeps)
    told.add(FencedHost, host="a", life=1)
    assert told.broken == ({5} if keeps else set())


def test_6_a_write_has_a_bound_of_its_own(told: Told) -> None:
    told.begin_write(1)
    told.now_s += 71
    told.land(1)
    told.end(1)
    assert told.broken == {6}


@pytest.mark.parametrize(
    ("text", "is_excused"),
    [("key 0x1 is still registered, 1 times", True), ("the reservation could not", False)],
)
def test_8_a_lost_session_excuses_a_registration_and_nothing_else(
    text: str, *, is_excused: bool
) -> None:
    told = Told()
    told.begin(1, Kind.UNMOUNT, is_epilogue=True)
    told.end(1, Outcome.ERROR, told=text)
    told.add(Over, held_by="", registered=(), forlorn=("a",), cut_off=())
    assert told.broken == (set() if is_excused else {8})


@pytest.mark.parametrize(("cells", "is_excused"), [(range(2), True), (range(6, 8), False)])
def test_7_another_disk_excuses_only_the_request_that_met_it(
    told: Told, cells: range, *, is_excused: bool
) -> None:
    """The other reads what is not there."""
    told.begin(1, Kind.WRITE, handle=1, cells=range(8))
    told.land(1, first_cell=0)
    told.land(1, first_cell=6)
    told.end(1)
    told.begin(2, Kind.READ, handle=1, cells=cells)
    told.land(OTHER_DISK, is_other_disk=True)
    told.end(2, found=(0, 0))
    assert (7 in told.broken) is not is_excused
