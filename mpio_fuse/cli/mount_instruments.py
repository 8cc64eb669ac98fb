"""The options of ``mpio-fuse mount`` for labs: ``--lab``, ``--fault``, ``--trace``, as one argument of the command."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click

from mpio_fuse.cli.fault_argument import named_faults
from mpio_fuse.daemon.lab import Instruments, Lab
from mpio_fuse.daemon.readiness import Readiness
from mpio_fuse.errors import UsageError
from mpio_fuse.transport.fault_spec import FaultSpec
from mpio_fuse.transport.trace import TraceFile


@attrs.frozen
class InstrumentOptions:
    """What was asked for.  ``trace_file`` is absolute."""

    is_lab: bool = False
    faults: tuple[FaultSpec, ...] = ()
    trace_file: Path | None = None

    @property
    def arguments(self) -> list[str]:
        """The same for the command line of a daemon; files of faults have been read."""
        lab = ["--lab"] if self.is_lab else []
        faults = [part for fault in self.faults for part in ("--fault", fault.line)]
        trace = [] if self.trace_file is None else ["--trace", str(self.trace_file)]
        return [*lab, *faults, *trace]

    @contextmanager
    def instruments(self, readiness: Readiness) -> Iterator[Instruments]:
        """Make them, and say that they are there.

        Raises:
            MpioError: the trace cannot be written.
        """
        lab = Lab(self.faults) if self.is_lab else None
        trace = None if self.trace_file is None else TraceFile.open(self.trace_file)
        try:
            if lab is not None:
                lab.announce(readiness.warn)
            yield Instruments(lab, trace)
        finally:
            if trace is not None:
                trace.close()


def instrument_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and their values as its argument ``options``."""

    @click.option("--lab", is_flag=True, help="This is a lab: commands may be made to fail.")
    @click.option(
        "--fault", "faults", metavar="'UNDERPATH: FAULT'", multiple=True,
        help="Make commands fail (docs/faults.md); @FILE has one a line. With --lab only.",
    )  # fmt: skip
    @click.option(
        "--trace", "trace_file", metavar="FILE", type=click.Path(path_type=Path),
        help="Append a line for every command to FILE.",
    )  # fmt: skip
    @functools.wraps(command)
    def packed(
        *args: object, lab: bool, faults: tuple[str, ...], trace_file: Path | None, **kwargs: object
    ) -> None:
        if faults and not lab:
            what = "--fault makes commands fail, which is for a lab only"
            raise UsageError(what, hint="add --lab, where nobody's data depends on this mount")
        trace_file = trace_file and trace_file.absolute()
        options = InstrumentOptions(lab, named_faults(faults), trace_file)
        command(*args, options=options, **kwargs)

    return packed
