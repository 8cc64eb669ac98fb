"""``scripts/lab``: run a command, or a shell, in a lab."""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from tests.lab.errors import GuestDiedError, GuestTimeoutError, LabError
from tests.lab.fabric import MIB, Fabric, FabricKind
from tests.lab.lab import Lab
from tests.lab.launch import GuestSettings
from tests.lab.terminal import run_shell

EXIT_TIMEOUT = 124
EXIT_DIED = 125
EXIT_INTERRUPTED = 130
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

DESCRIPTION = """\
Boot a User Mode Linux on this machine's own file system (read-only below, a tmpfs above), build a storage fabric in
it, and run something there.  Nothing it does reaches the machine.

In the environment: A_NODES, B_NODES, ... are the sg nodes of host a, b, ...; LAB_FABRIC names a JSON file with all of
them; .venv/bin comes first on PATH.  The current directory is the checkout; /tmp, /run and /dev/shm are empty.
"""
EPILOG = """\
examples:
  scripts/lab run -- 'lsscsi -g; sg_persist -n --in --read-keys ${A_NODES%% *}'
  scripts/lab run --fabric loop --luns 2 -- python -m pytest tests/transport
  scripts/lab shell --fabric tgt

exit status of run: the command's; 124 at the time limit; 125 when the lab itself failed.
"""


def size_bytes(text: str) -> int:
    """Decode "64M" and the like."""
    match = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 64M or 1G")
    return int(match[1]) * UNITS[match[2].upper()]


def _add_fabric_options(parser: argparse.ArgumentParser) -> None:
    kinds = [kind.value for kind in FabricKind]
    parser.add_argument(
        "--fabric", choices=kinds, default="iscsi", help="what carries commands (default: iscsi)"
    )
    parser.add_argument("--hosts", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument(
        "--underpaths",
        type=int,
        default=2,
        metavar="N",
        help="of each host to each LUN (default: 2)",
    )
    parser.add_argument(
        "--luns", type=int, default=1, metavar="N", help="numbered from 1 (default: 1)"
    )
    parser.add_argument(
        "--size", type=size_bytes, default=64 * MIB, metavar="BYTES", help="of a LUN (default: 64M)"
    )
    parser.add_argument(
        "--block-size", type=int, choices=(512, 4096), default=512, help="of a LUN (default: 512)"
    )
    parser.add_argument(
        "--memory", type=size_bytes, default=1 << 30, metavar="BYTES",
        help="of the guest; LUNs and files in it live in its memory (default: 1G)",
    )  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of ``scripts/lab``'s arguments."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "scripts/lab", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="mode", required=True, metavar="run|shell")
    run = commands.add_parser("run", help="run a command and pass on its output and exit status",
                              description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)  # fmt: skip
    _add_fabric_options(run)
    run.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="limit in seconds (default: 600)"
    )
    run.add_argument(
        "command",
        nargs="+",
        metavar="COMMAND",
        help="one word is bash text, several a command line",
    )
    shell = commands.add_parser("shell", help="an interactive shell",
                                description=DESCRIPTION, formatter_class=raw)  # fmt: skip
    _add_fabric_options(shell)
    return parser


def _pass_on(stream: str, data: bytes) -> None:
    os.write(1 if stream == "out" else 2, data)


def _say(text: str) -> None:
    sys.stderr.write(f"lab: {text}\n")


def _run(lab: Lab, words: Sequence[str], timeout_s: float) -> int:
    job = lab.spawn(words[0] if len(words) == 1 else words)
    try:
        return job.wait(timeout_s, _pass_on).status
    finally:
        job.pass_output(_pass_on)


def _make_lab(options: argparse.Namespace) -> Lab:
    fabric = Fabric.of(
        kind=options.fabric,
        hosts=options.hosts,
        underpaths=options.underpaths,
        luns=options.luns,
        size_bytes=options.size,
        block_size_bytes=options.block_size,
    )
    return Lab(fabric, GuestSettings(memory_bytes=options.memory))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        lab = _make_lab(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        with lab:
            return (
                run_shell(lab)
                if options.mode == "shell"
                else _run(lab, options.command, options.timeout)
            )
    except GuestTimeoutError:
        _say(f"killed at the limit of {options.timeout:g} s")
        return EXIT_TIMEOUT
    except LabError as error:
        what = "the guest died" if isinstance(error, GuestDiedError) else "failed"
        _say(f"{what}: {error}")
        return EXIT_DIED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
