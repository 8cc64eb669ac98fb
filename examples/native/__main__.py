"""``scripts/demo --native``: builds array, hosts and cables, has the story told, and says how it went."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from examples.demo.stage import ClaimFailed, Guest, Stage
from examples.native.guest import LocalGuest
from examples.native.story import LUN_BYTES, tell
from tests.native.namespaces import with_sbin
from tests.native.site import Site, built

EXIT_MISSING = 125
EXIT_INTERRUPTED = 130
LOG_LINES = 10
SETTINGS = "[underpaths]\nhold_down = 1\ncheck_min = 0.5\ncheck_max = 2"
PROGRAMS = {
    "tgtd": "tgt", "tgtadm": "tgt", "fusermount3": "fuse3", "mkfs.ext4": "e2fsprogs", "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs", "bash": "bash",
}  # fmt: skip

INTRODUCTION = """\
Two hosts, A and B, share one disk of an array.  Each reaches it over two cables: two underpaths.  All
of it is on this machine and yours: the array is a tgtd, the cables are TCP relays, a host is a daemon
with an initiator name of its own; mpio-fuse speaks iSCSI itself, so no kernel module, no device node but
/dev/fuse and no root is needed.  All is gone at the end; nothing here touches this machine's disks."""

SHELL_HELP = """
This prompt is on host A; its cables are $A1 and $A2.  To begin with:
  mpio-fuse discover $A1 $A2
  mpio-fuse mount a/mnt --config a/config.toml $A1 $A2 && ls -l a/mnt && mpio-fuse status
exit ends it all."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("scripts/demo --native", description=INTRODUCTION)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="all output of all commands, the checks' too"
    )
    parser.add_argument(
        "--shell", action="store_true", help="no story, but a prompt on host A, to try things"
    )
    return parser.parse_args(arguments)


def missing() -> list[str]:
    """What this machine lacks, in words."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    packages = " ".join(sorted({PROGRAMS[name] for name in lacking}))
    found = [f"{', '.join(lacking)}: apt-get install {packages}"] if lacking else []
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        found.append("/dev/fuse, for reading and writing (in a container: --device /dev/fuse)")
    return found


def with_programs() -> None:
    """Have mpio-fuse, and the programs of sbin, found by the story's commands."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with_sbin()


@contextmanager
def prepared() -> Iterator[tuple[Site, LocalGuest]]:
    """Array, cables, and a place to run commands in; gone at the end, whatever happened."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpio-demo-"))
        directory = Path(name)
        site = stack.enter_context(built(directory, SETTINGS, LUN_BYTES))
        work = directory / "output"
        work.mkdir()
        guest = LocalGuest(work, directory)
        stack.callback(guest.end)
        yield site, guest


def variables_of(site: Site) -> Mapping[str, Mapping[str, str]]:
    """What makes a command a host's: where its daemon is found, and who it is to targets."""
    names = ("MPIO_FUSE_RUN_DIR", "MPIO_FUSE_INITIATOR_NAME")
    return {
        host: {name: one.environment[name] for name in names} for host, one in site.hosts.items()
    }


def perform(guest: Guest, site: Site, out: Console, *, is_verbose: bool = False) -> int:
    """Tell the story; give the exit status: 1 when a claim was false."""
    began_s = time.monotonic()
    stage = Stage(guest, out, is_verbose, host_variables=variables_of(site))
    try:
        tell(stage, site)
    except ClaimFailed as failure:
        out.print(f"   FAILED: {failure}", style="bold red", soft_wrap=True, markup=False)
        for host in site.hosts.values():
            lines = "\n    ".join(host.log().splitlines()[-LOG_LINES:])
            out.print(
                f"  host {host.name}'s log ends with:\n    {lines}", soft_wrap=True, markup=False
            )
        out.print(f"\nThis claim is false; the {stage.claims} before it held.", style="bold red")
        return 1
    took_s = time.monotonic() - began_s
    out.print(f"\nall {stage.claims} claims held, in {took_s:.0f} s", style="bold green")
    return 0


def run_shell(site: Site, guest: LocalGuest, out: Console) -> int:
    """Give a prompt on host A, where array and cables are; its exit status."""
    numbered = {
        f"{host.upper()}{at}": url
        for host in site.hosts
        for at, url in enumerate(site.urls(host), 1)
    }
    variables = {**numbered, "ARRAY": site.tgtd.url()}
    for name, url in variables.items():
        out.print(f"  {name}={url}", soft_wrap=True)
    out.print(SHELL_HELP, soft_wrap=True)
    environment = os.environ | variables | dict(variables_of(site)["a"])
    return subprocess.run(["bash"], check=False, cwd=guest.directory, env=environment).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status."""
    options = parse(arguments)
    out = Console(highlight=False)
    with_programs()
    if lacking := missing():
        print("demo: this machine lacks\n  " + "\n  ".join(lacking), file=sys.stderr)  # noqa: T201
        return EXIT_MISSING
    out.print(INTRODUCTION, soft_wrap=True)
    try:
        with prepared() as (site, guest):
            if options.shell:
                return run_shell(site, guest, out)
            return perform(guest, site, out, is_verbose=options.verbose)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
