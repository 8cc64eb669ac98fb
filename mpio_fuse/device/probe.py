"""Reads what a logical unit says of itself, over one underpath: identity, capacity, limits, persistent reserve.

Theory of operation
-------------------
Every answer is the target's word and may be missing, wrong, or in the way of somebody's reservation.  What cannot
be known is refused, or None where `LogicalUnit` has a None; nothing is guessed:

* *Identity* is VPD page 0x83.  Without a usable designator in it two disks could be taken for one.
* *Capacity* may be refused with RESERVATION CONFLICT while another host holds the LUN (LIO does), or by a port in
  standby.  It is None then, and read again once this host may.
* *Persistent reserve* is missing only if PERSISTENT RESERVE IN is answered with ILLEGAL REQUEST, invalid command
  operation code.  A conflict, an attention or a transport failure says nothing about it, and a wrong "no" would let
  this host in beside another: such a logical unit is not served.
* *Block Limits* is asked for only if the target lists the page: old disks hang on pages they do not have.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import DecodeError, MpioError, TransportError
from mpio_fuse.scsi import capacity, inquiry, pr_in, sense_codes, vpd
from mpio_fuse.scsi.command import Command, Completion, Status, received
from mpio_fuse.scsi.identity import Wwid, logical_unit_wwid
from mpio_fuse.scsi.inquiry import DeviceType, StandardInquiry
from mpio_fuse.scsi.mode_sense import decode_mode_header, mode_sense_6
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.verdict import Verdict, describe, is_answer_lost, judge, sense_of
from mpio_fuse.transport.contract import Transport

Answer = TypeVar("Answer")

INQUIRY_LENGTH_BYTES = 36
"""What every target has, and all that is looked at; some crash when asked for more."""

VPD_LENGTH_BYTES = 252
"""The first try: targets older than SPC-3 have one byte for the length.  A longer page is asked for again."""

UNUSUAL_DEVICES = {
    DeviceType.TAPE: "a tape drive",
    DeviceType.CD_DVD: "a CD/DVD drive",
    DeviceType.MEDIA_CHANGER: "a media changer",
    DeviceType.STORAGE_ARRAY_CONTROLLER: "a storage array controller",
    DeviceType.ENCLOSURE: "an enclosure",
    DeviceType.ZONED_DISK: "a zoned disk, which takes no writes at random",
    DeviceType.WELL_KNOWN_LUN: "a well known logical unit",
    DeviceType.UNKNOWN: "nothing: no device behind this logical unit number",
}


@attrs.frozen
class TargetPort:
    """A relative target port identifier and a target port group (SPC-4 7.8.6.7, 7.8.6.8), as far as they are told."""

    relative: int | None
    group: int | None


class NotADisk(MpioError):
    """There is something else behind the node, or nothing."""


class NoIdentity(MpioError):
    """The target answers, but not with an identity that tells its disk from others."""


@attrs.frozen
class Identity:
    """What INQUIRY alone tells."""

    wwid: Wwid
    vendor: str
    product: str
    revision: str

    @classmethod
    def of(cls, unit: LogicalUnit) -> "Identity":
        """The identity of a logical unit that has been probed."""
        return cls(unit.wwid, unit.vendor, unit.product, unit.revision)


async def identify(transport: Transport, *, timeout_s: float) -> Identity:
    """Whose disk is behind ``transport``, by INQUIRY alone.

    INQUIRY "shall" neither report nor clear unit attentions (SPC-4 5.14): a disk that somebody else uses over
    this nexus may be asked this much, and no more, or its user would miss what the attention told.

    Raises:
        As `probe`.
    """
    return await _bounded(Prober(Underpath(0, transport), timeout_s).identity, transport, timeout_s)


async def probe(transport: Transport, *, timeout_s: float) -> LogicalUnit:
    """What is behind ``transport``, within ``timeout_s`` for all of it.

    Raises:
        NotADisk: it is not a disk.
        DecodeError: an answer is not what it claims to be.
        MpioError: no identity, no capacity, no answer, or no telling whether it has persistent reserve.
    """
    return await _bounded(
        Prober(Underpath(0, transport), timeout_s).logical_unit, transport, timeout_s
    )


async def _bounded(
    ask: Callable[[], Awaitable[Answer]], transport: Transport, timeout_s: float
) -> Answer:
    with trio.move_on_after(timeout_s):
        try:
            return await ask()
        except DecodeError as error:
            raise DecodeError(error.what, underpath=transport.name, hint=error.hint) from error
    raise TransportError(
        f"no answer within {timeout_s:g} s",
        underpath=transport.name,
        hint="check the cable, the session and the target; the kernel's log may say more",
    )


def note_nothing(_underpath: Underpath, _verdict: Verdict, _text: str) -> None:
    """Nothing is registered or open yet that an attention could be about: whoever registers reads the state first."""


@attrs.frozen
class Prober:
    """The questions, one method each.  ``timeout_s`` bounds one command."""

    underpath: Underpath
    timeout_s: float
    on_attention: OnAttention = note_nothing

    async def identity(self) -> Identity:
        standard = await self.standard_inquiry()
        wwid = await self.wwid()
        return Identity(wwid, standard.vendor, standard.product, standard.revision)

    async def logical_unit(self) -> LogicalUnit:
        identity = await self.identity()
        limits = await self.block_limits()
        has_persistent_reserve = await self.has_persistent_reserve()
        return LogicalUnit(
            wwid=identity.wwid,
            vendor=identity.vendor,
            product=identity.product,
            revision=identity.revision,
            capacity=await self.read_capacity(),
            max_transfer_blocks=limits.maximum_transfer_blocks if limits else None,
            has_persistent_reserve=has_persistent_reserve,
        )

    async def standard_inquiry(self) -> StandardInquiry:
        """Standard INQUIRY data; NotADisk unless a disk is there."""
        standard = inquiry.decode_inquiry(await self._data(inquiry.inquiry(INQUIRY_LENGTH_BYTES)))
        if not standard.is_connected_disk:
            raise not_a_disk(
                standard.device_type, self.underpath.name, standard.peripheral_qualifier
            )
        return standard

    async def wwid(self) -> Wwid:
        """The identity by VPD page 0x83."""
        try:
            page = await self._vpd(vpd.VpdPage.DEVICE_IDENTIFICATION)
            wwid = logical_unit_wwid(vpd.decode_device_identification(page))
        except DecodeError as error:
            raise self._no_identity(str(error)) from error
        if wwid is None:
            raise self._no_identity(
                "VPD page 0x83 has no NAA, EUI-64 or T10 designator of the logical unit"
            )
        return wwid

    async def target_port(self) -> TargetPort:
        """What the port that this underpath goes through calls itself, by VPD page 0x83."""
        page = await self._vpd(vpd.VpdPage.DEVICE_IDENTIFICATION)
        numbers = {
            one.type: one.port_number
            for one in vpd.decode_device_identification(page)
            if one.association is vpd.Association.TARGET_PORT
        }
        return TargetPort(
            numbers.get(vpd.DesignatorType.RELATIVE_TARGET_PORT),
            numbers.get(vpd.DesignatorType.TARGET_PORT_GROUP),
        )

    async def leads_to(self, wwid: Wwid) -> bool | None:
        """Whether this is still that disk: another may sit behind a node after a rescan; None: no answer."""
        try:
            return await self.wwid() == wwid
        except (DecodeError, NoIdentity):
            return False
        except MpioError:
            return None

    async def has_fua(self) -> bool:
        """Whether the logical unit says that it takes the FUA bit; no answer is no."""
        try:
            return decode_mode_header(await self._data(mode_sense_6())).has_fua
        except MpioError:
            return False

    async def block_limits(self) -> vpd.BlockLimits | None:
        """VPD page 0xB0, None where the target does not list it."""
        command = inquiry.inquiry_vpd(vpd.VpdPage.SUPPORTED_PAGES, VPD_LENGTH_BYTES)
        completion = await self._issue(command)
        if judge(completion) in {Verdict.NOT_SUPPORTED, Verdict.INVALID}:
            return None
        pages = vpd.decode_supported_pages(self._checked(command, completion))
        if vpd.VpdPage.BLOCK_LIMITS not in pages:
            return None
        return vpd.decode_block_limits(await self._vpd(vpd.VpdPage.BLOCK_LIMITS))

    async def capacity_if_told(self) -> capacity.Capacity | None:
        """As `read_capacity`; None also for an answer that is missing or makes no sense."""
        try:
            return await self.read_capacity()
        except MpioError:
            return None

    async def read_capacity(self) -> capacity.Capacity | None:
        """READ CAPACITY(16), or (10) where there is no (16); None while it cannot be read."""
        command = capacity.read_capacity_16()
        completion = await self._issue(command)
        if judge(completion) is Verdict.NOT_SUPPORTED:
            return await self._read_capacity_10()
        if _is_kept_from_us(completion):
            return None
        return capacity.decode_read_capacity_16(self._checked(command, completion))

    async def _read_capacity_10(self) -> capacity.Capacity | None:
        command = capacity.read_capacity_10()
        completion = await self._issue(command)
        if _is_kept_from_us(completion):
            return None
        found = capacity.decode_read_capacity_10(self._checked(command, completion))
        if found is None:
            raise self._error("larger than 2 TiB, and has no READ CAPACITY(16) to say how large")
        return found

    async def has_persistent_reserve(self) -> bool:
        """Whether the target has PERSISTENT RESERVE; see the theory of operation for what says no."""
        completions = []
        for command in (pr_in.read_keys(), pr_in.report_capabilities()):
            completions.append(await self._issue(command))
            if completions[-1].is_good:
                return True
        if all(_is_unknown_operation(one) for one in completions):
            return False
        told = next(one for one in completions if not _is_unknown_operation(one))
        what = f"cannot tell whether it has persistent reserve: {describe(told)}"
        if is_answer_lost(told):
            hint = "try again once the target answers"
            raise TransportError(what, underpath=self.underpath.name, hint=hint)
        raise self._error(
            what,
            "another host may hold it with SCSI-2 RESERVE; release it there, then try again"
            if told.status == Status.RESERVATION_CONFLICT
            else "try again once the target answers",
        )

    async def _vpd(self, page: vpd.VpdPage) -> bytes:
        """A whole VPD page, however long it says it is."""
        data = await self._data(inquiry.inquiry_vpd(page, VPD_LENGTH_BYTES))
        length_bytes = vpd.page_length_bytes(data)
        if length_bytes <= VPD_LENGTH_BYTES:
            return data
        return await self._data(inquiry.inquiry_vpd(page, min(length_bytes, 0xFFFF)))

    async def _data(self, command: Command) -> bytes:
        return self._checked(command, await self._issue(command))

    async def _issue(self, command: Command) -> Completion:
        return await issue(self.underpath, command, self.timeout_s, self.on_attention)

    def _checked(self, command: Command, completion: Completion) -> bytes:
        if judge(completion) is not Verdict.GOOD:
            what = f"{command.name}: {describe(completion)}"
            if is_answer_lost(completion):
                hint = "check its link, session and target"
                raise TransportError(what, underpath=self.underpath.name, hint=hint)
            raise self._error(what)
        return received(command, completion)

    def _error(self, what: str, hint: str | None = None) -> MpioError:
        return MpioError(what, underpath=self.underpath.name, hint=hint)

    def _no_identity(self, why: str) -> NoIdentity:
        what = f"no identity to tell this disk from others by: {why}"
        return NoIdentity(what, underpath=self.underpath.name, hint="it cannot be served")


def not_a_disk(device_type: int, device_node: str, peripheral_qualifier: int = 0) -> NotADisk:
    """The error for a device of that PERIPHERAL DEVICE TYPE (SPC-4 table 138) and PERIPHERAL QUALIFIER."""
    kind = DeviceType.UNKNOWN if peripheral_qualifier else device_type
    named = {int(code): text for code, text in UNUSUAL_DEVICES.items()}
    what = named.get(kind, f"a device of type {kind:#04x}")
    return NotADisk(f"not a disk: {what}", underpath=device_node)


def _is_kept_from_us(completion: Completion) -> bool:
    """Whether the answer says only that this nexus may not ask now."""
    is_conflict = completion.status == Status.RESERVATION_CONFLICT
    return is_conflict or judge(completion) is Verdict.STANDBY


def _is_unknown_operation(completion: Completion) -> bool:
    sense = sense_of(completion)
    expected = (SenseKey.ILLEGAL_REQUEST, *sense_codes.INVALID_OPERATION_CODE)
    return sense is not None and not sense.is_deferred and sense.code == expected
