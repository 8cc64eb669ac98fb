"""``scripts/demo``: boots the lab, has the story told in it, and says how it went."""

import argparse
import sys
import textwrap
import time
from collections.abc import Sequence

from rich.console import Console

from examples.demo.looks import Hosts
from examples.demo.stage import ClaimFailed, Guest, Stage
from examples.demo.story import LUN_BYTES, tell
from tests.lab.errors import LabError
from tests.lab.fabric import Fabric, FabricReport
from tests.lab.lab import Lab

EXIT_LAB = 125
EXIT_INTERRUPTED = 130
LOG_LINES = 10
LOG_TIMEOUT_S = 10.0
FABRIC = Fabric.of(kind="iscsi", hosts=2, underpaths=2, luns=1, size_bytes=LUN_BYTES)

INTRODUCTION = """\
Two hosts, A and B, share one disk of an array.  Each reaches it over two networks, so each has two
device nodes for it: two underpaths.  Hosts, array and networks are in a lab: a Linux kernel that runs
as an ordinary process and has the kernel's real SCSI, iSCSI and FUSE.  It plays both hosts (each with
an iSCSI initiator of its own) and is thrown away at the end; nothing here touches this machine's disks."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("scripts/demo", description=INTRODUCTION)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="all output of all commands, the checks' too"
    )
    return parser.parse_args(arguments)


def show_logs(guest: Guest, out: Console) -> None:
    """Show what the daemons have logged; a guest that is gone has nothing to say."""
    try:
        logs = guest.run(f"tail -n {LOG_LINES} /run/mpio-fuse/*.log", timeout_s=LOG_TIMEOUT_S)
    except LabError:
        return
    if logs.stdout:
        out.print("  the daemons' logs end with:", style="red")
        out.print(textwrap.indent(logs.stdout, "    "), soft_wrap=True, markup=False)


def perform(guest: Guest, report: FabricReport, out: Console, *, is_verbose: bool = False) -> int:
    """Tell the story in a lab that is there; give the exit status: 1 when a claim was false."""
    began_s = time.monotonic()
    stage = Stage(guest, out, is_verbose)
    try:
        tell(stage, Hosts.of(report))
    except ClaimFailed as failure:
        out.print(f"   FAILED: {failure}", style="bold red", soft_wrap=True, markup=False)
        show_logs(guest, out)
        out.print(f"\nThis claim is false; the {stage.claims} before it held.", style="bold red")
        return 1
    took_s = time.monotonic() - began_s
    out.print(f"\nall {stage.claims} claims held, in {took_s:.0f} s", style="bold green")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status."""
    options = parse(arguments)
    out = Console(highlight=False)
    out.print(INTRODUCTION, soft_wrap=True)
    try:
        with Lab(FABRIC) as lab:
            return perform(lab, lab.report, out, is_verbose=options.verbose)
    except LabError as error:
        print(f"demo: the lab failed: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_LAB
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
