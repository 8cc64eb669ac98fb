"""``mpio-fuse mount``: start the daemon of a mountpoint, in the background or here."""

import contextlib
from functools import partial
from pathlib import Path

import click

from mpio_fuse.cli.device_argument import named_devices
from mpio_fuse.cli.main import PROGRAM, error_lines
from mpio_fuse.cli.mount_instruments import InstrumentOptions, instrument_options
from mpio_fuse.cli.printable import printable
from mpio_fuse.daemon import background, config, control, logs, mountpoint
from mpio_fuse.daemon.readiness import Pipe, Readiness, Unheard
from mpio_fuse.device.key import read_host_key
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.transport.iscsi import configure as configure_iscsi


@click.command()
@click.argument("mountpoint_text", metavar="MOUNTPOINT")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1, callback=named_devices)
@click.option(
    "--config", "config_file", metavar="FILE", type=click.Path(path_type=Path),
    help=f"Configuration; {config.DEFAULT_FILE} unless given, which may be missing.",
)  # fmt: skip
@click.option(
    "--key", "key_text", metavar="KEY",
    help="This host's reservation key, hexadecimal; derived from /etc/machine-id unless given.",
)  # fmt: skip
@click.option("--foreground", is_flag=True, help="Serve until stopped, and log to stderr.")
@click.option("--ready-fd", type=int, hidden=True)
@instrument_options
def mount(
    mountpoint_text: str,
    devices: tuple[str, ...],
    config_file: Path | None,
    key_text: str | None,
    *,
    options: InstrumentOptions,
    foreground: bool,
    ready_fd: int | None,
) -> None:
    """Show every LUN behind DEVICE... (else all this host has) as a file below MOUNTPOINT.

    DEVICE is a node such as /dev/sg3, or iscsi://host[:port][/target/lun].  Returns once the tree is usable.
    """
    settings = config.load(config_file)
    key = _key(key_text, settings)
    place = mountpoint.absolute(mountpoint_text)
    if foreground or ready_fd is not None:
        readiness = Unheard() if ready_fd is None else Pipe(ready_fd)
        _serve(place, devices, settings, key, options, readiness)
        return
    control.make_run_directory()
    arguments = ["mount", str(place), *devices, "--key", str(key)]
    if config_file is not None:
        arguments += ["--config", str(config_file.absolute())]
    arguments += options.arguments
    log_file = _log_file(place, settings)
    try:
        background.start(arguments, log_file, _warn)
    except KeyboardInterrupt:
        if settings.log.file is None:
            _drop_if_empty(log_file)
        # On a line of its own: a terminal has shown ^C.
        click.echo("\n" + printable(f"{PROGRAM}: interrupted: {place} is not mounted"), err=True)
        raise click.Abort from None


def _log_file(place: Path, settings: config.Config) -> Path:
    """Where a daemon in the background logs to."""
    return (settings.log.file or control.endpoint(place).log).absolute()


def _drop_if_empty(log_file: Path) -> None:
    """A daemon that was ended before it had begun has left nothing to read."""
    with contextlib.suppress(OSError):
        if log_file.stat().st_size == 0:
            log_file.unlink()


def _key(text: str | None, settings: config.Config) -> ReservationKey:
    if text is not None:
        return ReservationKey.parse_host(text)
    return settings.key or read_host_key()


def _warn(text: str) -> None:
    click.echo(printable(f"{PROGRAM}: warning: {text}"), err=True)


def _serve(
    place: Path,
    devices: tuple[str, ...],
    settings: config.Config,
    key: ReservationKey,
    options: InstrumentOptions,
    readiness: Readiness,
) -> None:
    """Be the daemon, and tell whoever started us how that went."""
    # Only a daemon needs FUSE, and it takes a while to load.
    from mpio_fuse.daemon.assemble import assemble  # noqa: PLC0415
    from mpio_fuse.daemon.main import Plan, run  # noqa: PLC0415

    configure_iscsi(settings.iscsi)
    logs.configure(settings.log.level.upper(), json=settings.log.format == "json")
    is_in_background = isinstance(readiness, Pipe)
    log_file = _log_file(place, settings) if is_in_background else None
    has_brief_log = is_in_background and settings.log.file is None
    try:
        with options.instruments(readiness) as instruments:
            plan = Plan(place, devices, settings, key, log_file, has_brief_log, instruments)
            wrapping = partial(assemble, wrap=instruments.wrap) if instruments else assemble
            run(plan, wrapping, readiness)
    except BaseException as error:
        status, lines = error_lines(error)
        is_heard = isinstance(readiness, Pipe) and readiness.fail(lines, status)
        if is_heard and has_brief_log and log_file is not None:
            with contextlib.suppress(OSError):
                log_file.unlink(missing_ok=True)  # whoever started us says it all
        raise
