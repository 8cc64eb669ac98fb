"""What is read of a logical unit over one underpath, and what is refused."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from mpio_fuse.device.probe import Identity, NotADisk, identify, probe
from mpio_fuse.errors import MpioError, TransportError
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.identity import Wwid, WwidKind
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.sense_codes import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPERATION_CODE,
    LOGICAL_UNIT_NOT_SUPPORTED,
    POWER_ON_OR_RESET,
    REGISTRATIONS_PREEMPTED,
    TARGET_PORT_STANDBY,
)
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import LIO, SCSI_DEBUG, TGT, Quirks
from tests.device.answering import AnsweringTransport, Reply, check_condition, disk

NO_SUCH_COMMAND = check_condition(SenseKey.ILLEGAL_REQUEST, INVALID_OPERATION_CODE)
NO_SUCH_FIELD = check_condition(SenseKey.ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB)
CONFLICT = Completion(status=Status.RESERVATION_CONFLICT)
GONE = Completion(host_status=HostStatus.NO_CONNECT)
NAMES = {
    "83": "INQUIRY VPD page 0x83",
    "00": "INQUIRY VPD page 0x00",
    "b0": "INQUIRY VPD page 0xb0",
    "10": "READ CAPACITY(10)",
    "16": "READ CAPACITY(16)",
    "keys": "READ KEYS",
    "can": "REPORT CAPABILITIES",
    "all": "",
}


def transport(model: LogicalUnitModel | None = None, /, **replies: Reply) -> AnsweringTransport:
    """A transport whose ``replies``, by `NAMES`, are the test's."""
    answering = AnsweringTransport(model or disk())
    answering.replies = {NAMES[name.strip("_")]: [reply] for name, reply in replies.items()}
    return answering


def page_83(*designators: bytes) -> bytes:
    body = b"".join(designators)
    return bytes((0, 0x83)) + len(body).to_bytes(2, "big") + body


def designator(code_set: int, kind: int, data: bytes) -> bytes:
    return bytes((code_set, kind, 0, len(data))) + data


def standard(first: int) -> bytes:
    return bytes((first, 0, 6, 2, 31, 0, 0, 0)) + b"VENDOR  PRODUCT         1.0 "


async def test_a_disk() -> None:
    model = disk(vendor="ACME", product="Array", revision="9", max_transfer_blocks=2048)
    unit = await probe(transport(model), timeout_s=10)
    assert (unit.vendor, unit.product, unit.revision) == ("ACME", "Array", "9")
    assert unit.wwid == Wwid(WwidKind.NAA, model.state.identity.naa)
    assert unit.capacity == Capacity(131071, 512, is_provisioned=unit.capacity.is_provisioned)  # type: ignore[union-attr]
    assert unit.max_transfer_blocks == 2048
    assert unit.has_persistent_reserve


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (0x01, "a tape drive"),
        (0x0D, "an enclosure"),
        (0x7F, "nothing"),
        (0x20, "nothing"),
        (0x1F, "nothing"),
        (0x14, "a zoned disk"),
        (0x0E, "a device of type 0x0e"),
    ],
)
async def test_not_a_disk(first: int, what: str) -> None:
    answering = transport()
    answering.replies["INQUIRY"] = [standard(first)]
    with pytest.raises(NotADisk, match=f"sim0: not a disk: {what}"):
        await probe(answering, timeout_s=10)
    assert answering.sent == ["INQUIRY"]


NAA_6 = designator(1, 3, bytes.fromhex("60014050000000000000000000000001"))
NAA_5 = designator(1, 3, bytes.fromhex("5001405000000001"))
EUI = designator(1, 2, bytes.fromhex("0014050000000001"))
T10 = designator(2, 1, b"LIO-ORG disk0:1234")
PORT = designator(1, 0x14, bytes.fromhex("00000001"))


@pytest.mark.parametrize(
    ("designators", "wwid"),
    [
        ((T10, EUI, NAA_5, NAA_6), "naa.60014050000000000000000000000001"),
        ((T10, EUI, NAA_5), "naa.5001405000000001"),
        ((T10, EUI), "eui.0014050000000001"),
        ((T10,), "t10.LIO-ORG%20disk0:1234"),
    ],
)
async def test_identity(designators: tuple[bytes, ...], wwid: str) -> None:
    unit = await probe(transport(_83=page_83(PORT, *designators)), timeout_s=10)
    assert str(unit.wwid) == wwid


VENDOR_ALONE = designator(2, 1, b"LIO-ORG ")


@pytest.mark.parametrize(
    "answer",
    [
        page_83(),
        page_83(PORT),
        page_83(VENDOR_ALONE),
        page_83(NAA_6)[:-1],
        b"",
        b"\0",
        standard(0),
        NO_SUCH_FIELD,
        GONE,
    ],
)
async def test_no_identity(answer: Reply) -> None:
    """Although VPD page 0x80 has a serial number, which the model's does."""
    with pytest.raises(MpioError, match="sim0: "):
        await probe(transport(_83=answer), timeout_s=10)


async def test_a_long_page_is_asked_for_whole() -> None:
    many = [designator(2, 8, b"x" * 200) for _ in range(10)]
    answering = transport(_83=page_83(*many, NAA_6))
    unit = await probe(answering, timeout_s=10)
    assert unit.wwid.kind is WwidKind.NAA
    assert answering.sent.count(NAMES["83"]) == 2


async def test_large_capacity() -> None:
    last_lba = 1 << 33
    answer = last_lba.to_bytes(8, "big") + (4096).to_bytes(4, "big") + bytes(20)
    unit = await probe(transport(_16=answer), timeout_s=10)
    assert unit.capacity == Capacity(last_lba, 4096)


async def test_an_old_disk_has_no_16_byte_form() -> None:
    old = (1000).to_bytes(4, "big") + (512).to_bytes(4, "big")
    unit = await probe(transport(_16=NO_SUCH_COMMAND, _10=old), timeout_s=10)
    assert unit.capacity == Capacity(1000, 512)


async def test_too_large_for_the_only_form_it_has() -> None:
    with pytest.raises(MpioError, match="larger than 2 TiB"):
        await probe(
            transport(_16=NO_SUCH_COMMAND, _10=b"\xff" * 4 + bytes((0, 0, 2, 0))), timeout_s=10
        )


@pytest.mark.parametrize("form", ["_16", "_10"])
@pytest.mark.parametrize(
    "answer", [CONFLICT, check_condition(SenseKey.NOT_READY, TARGET_PORT_STANDBY)]
)
async def test_capacity_that_cannot_be_read_now_is_unknown(form: str, answer: Completion) -> None:
    replies: dict[str, Reply] = {"_16": NO_SUCH_COMMAND, form: answer}
    assert (await probe(transport(**replies), timeout_s=10)).capacity is None


async def test_reserved_by_another_host() -> None:
    """LIO answers READ CAPACITY with RESERVATION CONFLICT."""
    model, key = disk(), ReservationKey.from_int(7)
    other = Nexus("iqn.host-b", 1)
    model.attach(other)
    for command in (
        pr_out.register_and_ignore_existing_key(key),
        pr_out.reserve(key, PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY),
    ):
        assert model.execute(other, command.cdb, bytes(command.data_out)).is_good
    unit = await probe(transport(model), timeout_s=10)
    assert unit.capacity is None
    assert unit.has_persistent_reserve


@pytest.mark.parametrize(
    "answer", [GONE, bytes(5), b"\xff" * 32, check_condition(SenseKey.NOT_READY, (0x3A, 0))]
)
async def test_no_capacity(answer: Reply) -> None:
    with pytest.raises(MpioError, match="sim0: "):
        await probe(transport(_16=answer), timeout_s=10)


@pytest.mark.parametrize(("quirks", "expected"), [(LIO, True), (TGT, True), (SCSI_DEBUG, False)])
async def test_persistent_reserve(quirks: Quirks, expected: bool) -> None:  # noqa: FBT001
    unit = await probe(transport(LogicalUnitModel(quirks)), timeout_s=10)
    assert unit.has_persistent_reserve is expected


async def test_one_good_answer_to_persistent_reserve_in_is_enough() -> None:
    assert (await probe(transport(keys=NO_SUCH_COMMAND), timeout_s=10)).has_persistent_reserve


@pytest.mark.hazard(21)
@pytest.mark.parametrize(
    "answer",
    [
        CONFLICT,
        GONE,
        NO_SUCH_FIELD,
        check_condition(SenseKey.ILLEGAL_REQUEST, LOGICAL_UNIT_NOT_SUPPORTED),
    ],
)
@pytest.mark.parametrize("other", [None, NO_SUCH_COMMAND])
async def test_nothing_but_an_unknown_operation_means_no_persistent_reserve(
    answer: Completion, other: Completion | None
) -> None:
    for keys, can in ((answer, other or answer), (other or answer, answer)):
        with pytest.raises(MpioError, match="sim0: cannot tell whether it has persistent reserve"):
            await probe(transport(keys=keys, can=can), timeout_s=10)


@pytest.mark.parametrize("code", [POWER_ON_OR_RESET, REGISTRATIONS_PREEMPTED])
async def test_unit_attentions_are_passed_over(code: tuple[int, int]) -> None:
    answering = transport()
    attention = check_condition(SenseKey.UNIT_ATTENTION, code)
    good = (1000).to_bytes(8, "big") + (512).to_bytes(4, "big") + bytes(20)
    answering.replies = {
        "READ KEYS": [attention, attention, bytes(8)],
        "READ CAPACITY(16)": [attention, good],
    }
    unit = await probe(answering, timeout_s=10)
    assert unit.has_persistent_reserve
    assert unit.capacity == Capacity(1000, 512)


async def test_unit_attentions_without_end() -> None:
    attention = check_condition(SenseKey.UNIT_ATTENTION, POWER_ON_OR_RESET)
    answering = transport(keys=attention, can=attention)
    with pytest.raises(MpioError, match=r"cannot tell whether it has persistent reserve.*29/00"):
        await probe(answering, timeout_s=10)


@pytest.mark.parametrize(
    "answer", [NO_SUCH_FIELD, bytes((0, 0, 0, 2, 0x00, 0x83)), bytes((0, 0, 0, 0))]
)
async def test_block_limits_are_not_asked_for_where_not_listed(answer: Reply) -> None:
    answering = transport(_00=answer)
    assert (await probe(answering, timeout_s=10)).max_transfer_blocks is None
    assert NAMES["b0"] not in answering.sent


@pytest.mark.parametrize("answer", [bytes((0, 0xB0, 0, 4)), GONE, b"", NO_SUCH_FIELD])
async def test_bad_block_limits(answer: Reply) -> None:
    with pytest.raises(MpioError, match="sim0: "):
        await probe(transport(b0=answer), timeout_s=10)


async def test_a_hung_node(autojump_clock: MockClock) -> None:
    answering = transport()
    answering.hangs = True
    with pytest.raises(TransportError, match="sim0: no answer within 10 s"):
        await probe(answering, timeout_s=10)
    assert autojump_clock.current_time() == 10


async def test_the_time_is_for_all_questions_together(autojump_clock: MockClock) -> None:
    answering = transport()
    answering.link.arrival_s = 4
    with pytest.raises(TransportError, match="no answer within 10 s"):
        await probe(answering, timeout_s=10)
    assert autojump_clock.current_time() == 10


async def test_identify_takes_no_unit_attention_away() -> None:
    model = disk(vendor="ACME", product="Array", revision="9")
    answering = transport(model)
    model.lun_reset()
    pending = model.pending_attentions(answering.nexus)
    identity = await identify(answering, timeout_s=10)
    assert identity == Identity(Wwid(WwidKind.NAA, model.state.identity.naa), "ACME", "Array", "9")
    assert model.pending_attentions(answering.nexus) == pending != ()
    assert all(name.startswith("INQUIRY") for name in answering.sent)


@given(
    answer=st.binary(max_size=300),
    where=st.sampled_from(["_83", "_00", "b0", "_16", "keys", "can"]),
)
def test_whatever_a_target_answers_it_is_known_or_refused(answer: bytes, where: str) -> None:
    async def run() -> str:
        try:
            await probe(transport(**{where: answer}), timeout_s=10)
        except MpioError as error:
            return str(error)
        return "sim0"

    said = trio.run(run, clock=MockClock(autojump_threshold=0))
    assert "sim0" in said
    assert "\n" not in said
