"""Ask a real target, with our own commands, and print its answers as TOML with sg3-utils' reading of them.

Run as root where the nodes are, such as a lab guest, from the top of a checkout:

    python -m tests.scsi.golden.capture lio A1=/dev/sg3 A2=/dev/sg1 B1=/dev/sg2 B2=/dev/sg0 > lio.toml

A1 and A2 are two nexuses of one host to one LUN and B1 and B2 of another, all fresh: no registrations, no pending
unit attention wanted.  Kinds are the functions at the end: ``lio``, ``tgt``, ``scsi_debug``.
"""

import ctypes
import fcntl
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mpio_fuse.scsi import (
    block,
    capacity,
    inquiry,
    pr_in,
    pr_out,
    report_luns,
    reserve6,
    sense,
    target_port_groups,
    unit_ready,
    vpd,
)
from mpio_fuse.scsi.command import Command, Completion, received
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ZERO_KEY, ReservationKey
from mpio_fuse.scsi.transport_id import iscsi_transport_id

SG_IO = 0x2285
NONE, TO_DEVICE, FROM_DEVICE = -1, -2, -3
SENSE_BYTES = 252
KEY_A, KEY_B = ReservationKey.from_int(0x123ABC), ReservationKey.from_int(0x0B00_0000_0000_123A)
PERSIST = ("sg_persist", "-n")
TYPE = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY


class SgIoHeader(ctypes.Structure):
    """struct sg_io_hdr of <scsi/sg.h>."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def execute(node: str, command: Command) -> tuple[Completion, bytes]:
    """Send one command by SG_IO; the completion and what was received."""
    data = bytes(command.data_in if command.data_in is not None else command.data_out)
    buffer = ctypes.create_string_buffer(data, max(len(data), 1))
    cdb = ctypes.create_string_buffer(command.cdb, len(command.cdb))
    sense_buffer = ctypes.create_string_buffer(SENSE_BYTES)
    direction = NONE if not data else TO_DEVICE if command.data_in is None else FROM_DEVICE
    header = SgIoHeader(
        interface_id=ord("S"),
        dxfer_direction=direction,
        cmd_len=len(command.cdb),
        mx_sb_len=SENSE_BYTES,
        dxfer_len=len(data),
        dxferp=ctypes.addressof(buffer),
        cmdp=ctypes.addressof(cdb),
        sbp=ctypes.addressof(sense_buffer),
        timeout=30_000,
    )
    with Path(node).open("r+b", buffering=0) as device:
        fcntl.ioctl(device, SG_IO, header)
    if command.data_in is not None:
        command.data_in[:] = buffer.raw[: len(data)]
    completion = Completion(
        status=header.status,
        host_status=header.host_status,
        driver_status=header.driver_status,
        sense=sense_buffer.raw[: header.sb_len_wr],
        residual_bytes=min(max(header.resid, 0), len(data)),
    )
    return completion, received(command, completion)


def put(line: str) -> None:
    sys.stdout.write(f"{line}\n")


class Recorder:
    """Prints one table per answer."""

    def __init__(self, nodes: dict[str, str]) -> None:
        self.nodes = nodes

    def header(self, target: str) -> None:
        kernel = self._run(["uname", "-sr"])
        tools = self._run(["sg_inq", "-V"])
        put(f"target = {target!r}\nkernel = {kernel!r}\nsg3_utils = {tools!r}")

    def settle(self) -> None:
        """Take the unit attentions that logging in left behind."""
        for node in self.nodes.values():
            for _ in range(4):
                execute(node, unit_ready.test_unit_ready())

    def quiet(self, nexus: str, command: Command) -> None:
        execute(self.nodes[nexus], command)

    def ask(self, name: str, nexus: str, command: Command, *reader: str) -> None:
        """Record an answer; ``reader`` is the sg3-utils command that reads the same thing."""
        completion, data = execute(self.nodes[nexus], command)
        text = self._run([*reader, self.nodes[nexus]]) if reader else ""
        if completion.sense:
            text = self._run(["sg_decode_sense", *re.findall("..", completion.sense.hex())])
        put(f"\n[answer.{name}]\nnexus = {nexus!r}\ncommand = {command.name!r}")
        put(f"cdb = {command.cdb.hex(' ')!r}")
        if command.data_out and command.cdb[0] == 0x5F:
            put(f"data_out = {bytes(command.data_out).hex(' ')!r}")
        put(f"status = {completion.status:#04x}\nhost_status = {completion.host_status:#04x}")
        put(f"driver_status = {completion.driver_status:#04x}")
        put(
            f"sense = {completion.sense.hex(' ')!r}\ndata = '''\n{_folded(data if completion.is_good else b'')}'''"
        )
        put(f"reader = {' '.join(reader)!r}\ntext = '''\n{text}'''")

    def program(self, name: str, command: list[str]) -> None:
        """Record what a program says that it does."""
        text = self._run([*command, self.nodes["A1"]])
        put(f"\n[sg_persist.{name}]\narguments = {' '.join(command)!r}\ntext = '''\n{text}\n'''")

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().replace("'''", '"""')


def _folded(data: bytes) -> str:
    lines = (data[start : start + 32].hex(" ") for start in range(0, len(data), 32))
    return "".join(f"{line}\n" for line in lines)


def unit(recorder: Recorder, nexus: str = "A1") -> None:
    """What every disk answers."""
    ask = recorder.ask
    ask("inquiry", nexus, inquiry.inquiry(), "sg_inq")
    for page in vpd.VpdPage:
        ask(f"vpd_{page:02x}", nexus, inquiry.inquiry_vpd(page), "sg_vpd", "-p", hex(page))
    ask("capacity_10", nexus, capacity.read_capacity_10(), "sg_readcap")
    ask("capacity_16", nexus, capacity.read_capacity_16(), "sg_readcap", "--16")
    ask("luns", nexus, report_luns.report_luns(), "sg_luns")
    rtpg = target_port_groups.report_target_port_groups
    ask("port_groups", nexus, rtpg(), "sg_rtpg", "-d")
    ask("port_groups_extended", nexus, rtpg(extended=True), "sg_rtpg", "-d", "-e")
    ask("request_sense", nexus, sense.request_sense())
    ask("invalid_opcode", nexus, Command("an opcode nobody has", bytes((0xFF, *bytes(9)))))
    ask("lba_out_of_range", nexus, block.read(0xFFFF_FFF0, bytearray(512), 512))
    ask("lba_out_of_range_16", nexus, block.read(1 << 40, bytearray(512), 512))
    ask("write_fua", nexus, block.write(0, bytes(512), 512, fua=True))
    ask("flush", nexus, block.synchronize_cache())
    ask("flush_16", nexus, block.synchronize_cache(1 << 33, 8))


def persistent(recorder: Recorder) -> None:
    """Registrations and the reservation; host A holds, host B waits and then takes over."""
    held(recorder)
    taken_over(recorder)
    moved(recorder)
    with_initiator_ports(recorder)


def held(recorder: Recorder) -> None:
    ask, quiet, persist = recorder.ask, recorder.quiet, PERSIST
    ask("keys_none", "A1", pr_in.read_keys(), *persist, "-k")
    ask("reservation_none", "A1", pr_in.read_reservation(), *persist, "-r")
    ask("full_status_none", "A1", pr_in.read_full_status(), *persist, "-s")
    ask("capabilities", "A1", pr_in.report_capabilities(), *persist, "-c")
    ask("register", "A1", pr_out.register(ZERO_KEY, KEY_A))
    ask("register_wrong_key", "A1", pr_out.register(KEY_B, KEY_A))
    ask("register_ignore", "A2", pr_out.register_and_ignore_existing_key(KEY_A))
    quiet("B1", pr_out.register_and_ignore_existing_key(KEY_B))
    ask("reserve", "A1", pr_out.reserve(KEY_A, TYPE))
    ask("keys", "B2", pr_in.read_keys(), *persist, "-k")
    for length in (8, 16, 20, 31):
        ask(f"keys_cut_at_{length}", "A1", pr_in.read_keys(length))
    ask("reservation", "B2", pr_in.read_reservation(), *persist, "-r")
    ask("full_status", "B2", pr_in.read_full_status(), *persist, "-s")
    ask("full_status_cut_at_100", "A1", pr_in.read_full_status(100))
    ask("conflict_read", "B2", block.read(0, bytearray(512), 512))
    ask("conflict_reserve", "B1", pr_out.reserve(KEY_B, TYPE))
    ask("conflict_reserve_6", "B2", reserve6.reserve6())
    ask("release_wrong_type", "A1", pr_out.release(KEY_A, PrType.WRITE_EXCLUSIVE))


def taken_over(recorder: Recorder) -> None:
    ask, quiet, persist = recorder.ask, recorder.quiet, PERSIST
    ask("preempt_and_abort", "B1", pr_out.preempt_and_abort(KEY_B, KEY_A, TYPE))
    ask("preempt", "B1", pr_out.preempt(KEY_B, KEY_A, TYPE))
    ask("victim_holder", "A1", unit_ready.test_unit_ready())
    ask("victim_other", "A2", unit_ready.test_unit_ready())
    ask("victim_read", "A1", block.read(0, bytearray(512), 512))
    quiet("A1", pr_out.register_and_ignore_existing_key(KEY_A))
    ask("release", "B1", pr_out.release(KEY_B, TYPE))
    ask("after_release", "A1", unit_ready.test_unit_ready())
    quiet("B1", pr_out.reserve(KEY_B, PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS))
    ask("reservation_all_registrants", "A1", pr_in.read_reservation(), *persist, "-r")
    quiet("B1", pr_out.release(KEY_B, PrType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS))
    recorder.settle()


def moved(recorder: Recorder) -> None:
    ask, quiet = recorder.ask, recorder.quiet
    ask("replace_lost", "B1", pr_out.replace_lost_reservation(KEY_B, TYPE))
    quiet("B1", pr_out.reserve(KEY_B, TYPE))
    host_a = iscsi_transport_id("iqn.2026-01.lab:hosta")
    ask("register_and_move", "B1", pr_out.register_and_move(KEY_B, KEY_A, 1, host_a))
    ask("keys_after_move", "A1", pr_in.read_keys(), *PERSIST, "-k")
    ask("clear", "B1", pr_out.clear(KEY_B))
    ask("after_clear", "A1", unit_ready.test_unit_ready())
    ask("register_flags", "B1", pr_out.register_and_ignore_existing_key(KEY_B, all_tg_pt=True))
    quiet("B1", pr_out.clear(KEY_B))
    recorder.settle()


def with_initiator_ports(recorder: Recorder) -> None:
    ask, quiet = recorder.ask, recorder.quiet
    quiet("B1", pr_out.register_and_ignore_existing_key(KEY_B))
    # LIO wants the whole name of the initiator port here, ISID included, so it is asked for it.
    completion, data = execute(recorder.nodes["A1"], pr_in.read_full_status())
    host_b = iscsi_transport_id("iqn.2026-01.lab:hostb")
    if completion.is_good:
        host_b = pr_in.decode_full_status(data).registrants[0].transport_id or host_b
    quiet("B1", pr_out.clear(KEY_B))
    recorder.settle()
    ask("register_spec_i_pt", "A1", pr_out.register(ZERO_KEY, KEY_A, spec_i_pt=[host_b]))
    ask("keys_after_spec_i_pt", "A1", pr_in.read_keys(), *PERSIST, "-k")
    quiet("A1", pr_out.clear(KEY_A))
    recorder.settle()


SG_PERSIST = {
    "register": "-G -K 123abc -S 456def",
    "register_aptpl": "-G -S 456def -Z",
    "register_all_tg_pt": "-G -S 456def -Y",
    "register_spec_i_pt": "-G -S 456def -X iqn.2026-01.lab:hostb,i,0x00023d000003",
    "unregister": "-G -K 123abc",
    "register_ignore": "-I -S 456def",
    "reserve": "-R -K 123abc -T 6",
    "release": "-L -K 123abc -T 5",
    "clear": "-C -K 123abc",
    "preempt": "-P -K 123abc -S 456def -T 6",
    "preempt_and_abort": "-A -K 123abc -S 456def -T 8",
    "register_and_move": "-M -K 123abc -S 456def -U -Q 2 -X iqn.2026-01.lab:hostb",
    "register_and_move_aptpl": "-M -K 123abc -S 456def -Z -Q 0x102 -X iqn.2026-01.lab:h",
    "replace_lost": "--replace-lost -S 456def -T 6",
}


def sent_by_sg_persist(recorder: Recorder) -> None:
    """What sg_persist sends; whether the target takes it does not matter."""
    for name, arguments in SG_PERSIST.items():
        recorder.program(name, ["sg_persist", "-n", "-o", *arguments.split(), "-vvv"])


def reset(recorder: Recorder) -> None:
    """A LUN reset by one nexus, as another sees it."""
    recorder.settle()
    subprocess.run(["sg_reset", "-d", recorder.nodes["B1"]], check=False, capture_output=True)
    recorder.ask("reset", "A1", unit_ready.test_unit_ready())


def lio(recorder: Recorder) -> None:
    recorder.settle()
    unit(recorder)
    persistent(recorder)
    reset(recorder)


def tgt(recorder: Recorder) -> None:
    lio(recorder)


def sg_persist(recorder: Recorder) -> None:
    recorder.settle()
    sent_by_sg_persist(recorder)


def scsi_debug(recorder: Recorder) -> None:
    recorder.ask("power_on", "A1", unit_ready.test_unit_ready())
    recorder.settle()
    unit(recorder)
    recorder.ask("keys_unsupported", "A1", pr_in.read_keys())
    recorder.ask("medium_error", "A1", block.read(0x1230, bytearray(4096), 512))


def scsi_debug_4kn(recorder: Recorder) -> None:
    recorder.settle()
    recorder.ask("capacity_10", "A1", capacity.read_capacity_10(), "sg_readcap")
    recorder.ask("capacity_16", "A1", capacity.read_capacity_16(), "sg_readcap", "--16")


KINDS: dict[str, Callable[[Recorder], None]] = {
    "lio": lio,
    "tgt": tgt,
    "sg_persist": sg_persist,
    "scsi_debug": scsi_debug,
    "scsi_debug_descriptor": scsi_debug,
    "scsi_debug_512e": scsi_debug,
    "scsi_debug_4kn": scsi_debug_4kn,
}


def main(kind: str, *nodes: str) -> None:
    recorder = Recorder(dict(node.split("=", 1) for node in nodes))
    recorder.header(kind)
    KINDS[kind](recorder)


if __name__ == "__main__":
    main(*sys.argv[1:])
