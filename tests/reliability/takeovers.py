"""``python -m tests.reliability.takeovers``: forced opens in turn by two hosts of a lab, in its guest.

    scripts/lab run --timeout 1800 -- python -m tests.reliability.takeovers --times 100
    scripts/lab run --timeout 1800 -- python -m tests.reliability.takeovers --times 20 --slow 1

``--slow``: the backing store takes that many seconds for each write, so that what is in flight when the disk is taken
would land long after it.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tests.lab.fabric import FabricReport
from tests.reliability.run import nodes_now
from tests.reliability.store import SlowStore, mapped_lun
from tests.reliability.takeover import Taken, play

HOSTS = ("a", "b")
HOLD_S = 0.3
"""For how long an epoch lasts at least, beside what a slow store takes."""


@contextlib.contextmanager
def mounted(host: str, nodes: Sequence[str]) -> Iterator[Path]:
    """While entered a daemon plays the host; the file of its only LUN."""
    mountpoint = Path(f"/tmp/takeover-{host}")  # noqa: S108 (the guest's own)
    mountpoint.mkdir(exist_ok=True)
    environment = {**os.environ, "MPIO_FUSE_RUN_DIR": f"/tmp/run-{host}"}  # noqa: S108 (as above)
    mount = ["mpio-fuse", "mount", str(mountpoint), "--key", f"0x{host}", *nodes]
    subprocess.run(mount, env=environment, check=True)
    try:
        (name,) = (entry.name for entry in mountpoint.iterdir())
        yield mountpoint / name
    finally:
        unmount = ["mpio-fuse", "unmount", "--force", str(mountpoint)]
        subprocess.run(unmount, env=environment, check=False)


@contextlib.contextmanager
def disk(report: FabricReport, slow_s: float) -> Iterator[int]:
    """While entered there is the LUN to play with; its number."""
    if not slow_s:
        yield 1
        return
    with mapped_lun(report.fabric) as lun:
        yield lun


def take(report: FabricReport, times: int, slow_s: float) -> Iterator[Taken]:
    """Mount for both hosts, and take the disk in turn."""
    with contextlib.ExitStack() as stack:
        lun = stack.enter_context(disk(report, slow_s))
        nodes = [[node.sg for node in nodes_now(report, lun, host)] for host in HOSTS]
        files = [
            stack.enter_context(mounted(host, names))
            for host, names in zip(HOSTS, nodes, strict=True)
        ]
        if slow_s:
            slow = SlowStore(0.0, slow_s)
            slow.strike()
            stack.callback(slow.lift)
        yield from play(files, times, HOLD_S + 2 * slow_s)


def summary(taken: Sequence[Taken]) -> str:
    times_s = [one.took_s for one in taken]
    ends = sorted({end for one in taken for end in one.ends})
    return (
        f"{len(taken)} takeovers: {sum(one.late for one in taken)} blocks of an old owner after the takeover,"
        f" {sum(one.lost for one in taken)} acknowledged blocks lost,"
        f" {sum(one.strange for one in taken)} strange; old handles ended with {', '.join(ends)};"
        f" forced open: median {statistics.median(times_s):.3f} s, longest {max(times_s):.3f} s;"
        f" {sum(one.writes for one in taken)} writes acknowledged"
    )


def is_well(taken: Sequence[Taken]) -> bool:
    return all(
        not (one.late or one.lost or one.strange) and set(one.ends) == {"EBADE"} for one in taken
    )


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.reliability.takeovers", description=__doc__)
    parser.add_argument("--times", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument("--slow", type=float, default=0.0, metavar="S", help="default: not")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each takeover's figures")
    options = parser.parse_args()
    report = FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())
    taken = []
    for one in take(report, options.times, options.slow):
        taken.append(one)
        if not is_well([one]):
            sys.stdout.write(f"{one}\n")
    sys.stdout.write(f"{summary(taken)}\n")
    if options.json:
        options.json.write_text(json.dumps([attrs.asdict(one) for one in taken], indent=1))
    return 0 if is_well(taken) else 1


if __name__ == "__main__":
    sys.exit(main())
