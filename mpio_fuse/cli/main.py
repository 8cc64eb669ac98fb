"""The ``mpio-fuse`` command: finds the subcommand, runs it, and turns whatever went wrong into one line.

Exit status: 0 done, 1 failed, 2 usage, 130 interrupted.  A subcommand is a click command in a file of its own, loaded
when it is asked for only, so that ``mpio-fuse status`` does not wait for FUSE to be imported.  It ends by returning,
by ``context.exit(status)``, or by raising an `MpioError`; only this file writes errors to stderr.
"""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

import attrs
import click

from mpio_fuse.cli.printable import printable
from mpio_fuse.errors import MpioError, UsageError

PROGRAM = "mpio-fuse"
FAILED, USAGE, INTERRUPTED = 1, 2, 130


@attrs.frozen
class Entry:
    """A subcommand: where it is (``module:attribute``) and what ``--help`` says of it."""

    place: str
    help: str


SUBCOMMANDS = {
    "discover": Entry(
        "mpio_fuse.cli.discover:discover", "Show LUNs, their underpaths, what they can do."
    ),
    "explain": Entry(
        "mpio_fuse.cli.explain:explain", "Tell what an open would do now, without doing it."
    ),
    "fault": Entry("mpio_fuse.cli.fault:fault", "Make the commands of a lab fail."),
    "mount": Entry("mpio_fuse.cli.mount:mount", "Show every LUN as a file below a mountpoint."),
    "persist": Entry(
        "mpio_fuse.cli.persist:persist", "Persistent reservations by hand, over device nodes."
    ),
    "release": Entry(
        "mpio_fuse.cli.release:release", "Release a reservation that a close has retained."
    ),
    "status": Entry("mpio_fuse.cli.status:status", "Show the state of the running daemon."),
    "underpath": Entry(
        "mpio_fuse.cli.underpath:underpath", "Add, remove, fail or reinstate an underpath."
    ),
    "unmount": Entry("mpio_fuse.cli.unmount:unmount", "Take a mountpoint away and unregister."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are run; its ``--help`` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in alphabetical order."""
        del ctx
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name."""
        del ctx
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.place.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUBCOMMANDS[name].help) for name in self.list_commands(ctx)])


@attrs.define
class _Run:
    """What the options before the subcommand say."""

    debug: bool = False


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 (click's)
    context.ensure_object(_Run).debug = value


@click.group(
    cls=LazyGroup, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="mpio-fuse", prog_name=PROGRAM)
@click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug,
    help="Show where in the program an error came from.",
)  # fmt: skip
def command() -> None:
    """Every shared SCSI disk as one file, owned by one host at a time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with its status."""
    status = run(arguments)
    try:
        if sys.stdout is not None:  # as it is when whoever started us has closed it
            sys.stdout.flush()
    except OSError as error:
        status = status or _report(error)
        # Python would try once more at exit, and complain in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, ``sys.argv`` unless given, and give the exit status.  Never raises an `Exception`."""
    state = _Run()
    try:
        result = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False, obj=state)
    except click.exceptions.NoArgsIsHelpError as error:  # of a group without a command
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except BaseException as error:  # noqa: BLE001 (nothing may reach the user as a traceback)
        if state.debug:
            traceback.print_exception(error)
        return _report(error)
    return result if isinstance(result, int) else 0


def _report(error: BaseException) -> int:
    """Say on stderr what went wrong, one line each; gives the exit status."""
    status, lines = error_lines(error)
    for line in lines:
        click.echo(f"{PROGRAM}: {line}", err=True)
    return status


def error_lines(error: BaseException) -> tuple[int, list[str]]:
    """The exit status an error has, and what to say of it; nothing for an interruption."""
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return INTERRUPTED, []
    is_usage = any(isinstance(leaf, UsageError | click.UsageError) for leaf in leaves)
    return USAGE if is_usage else FAILED, [_one_line(_words(leaf)) for leaf in leaves]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group (trio raises groups), or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _words(error: BaseException) -> str:
    match error:
        case MpioError():
            return str(error)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else PROGRAM
            return f"{error.format_message().rstrip('.')}; see '{path} --help'"
        case click.ClickException():
            return error.format_message()
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG, filename=None):
            # What opens a file names it; without a name it is our stdout that has no room.
            return f"cannot write the output: {error.strerror}"
        case _:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return f"unexpected {what}; this is a bug: 'mpio-fuse --debug ...' shows where it came from"


def _one_line(text: str) -> str:
    """One line that is safe on a terminal, whatever a user or a target put into it."""
    return printable(" ".join(text.split()))


if __name__ == "__main__":
    main()
