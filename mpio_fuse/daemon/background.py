"""Starting a daemon in the background, as mount(8) does: the caller waits until the tree is usable.

The daemon is this program again, with ``--foreground`` and a pipe: nothing is inherited by accident, as it would be
by forking a process that has threads and an event loop, and ps(1) shows what it does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mpio_fuse.errors import MpioError, UsageError

PROGRAM = (sys.executable, "-m", "mpio_fuse.cli.main")
READY_FD_OPTION = "--ready-fd"
USAGE_STATUS = 2


def start(
    arguments: Sequence[str],
    log_file: Path,
    warn: Callable[[str], None],
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run ``mpio-fuse ARGUMENTS --ready-fd N`` in the background; its process ID once its tree is usable.

    Raises:
        MpioError, UsageError, ExceptionGroup: what the daemon says is wrong, or that it died.
    """
    reading, writing = os.pipe()
    try:
        process = _spawn([*program, *arguments, READY_FD_OPTION, str(writing)], writing, log_file)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        with os.fdopen(reading, encoding="utf-8") as stream:
            _await_ready(stream, warn)
    except _Died:
        what = f"the daemon died while starting (exit status {process.wait()})"
        raise MpioError(what, hint=f"see {log_file}, or start it with --foreground") from None
    except (MpioError, ExceptionGroup):
        process.wait()  # it has told all, and is ending
        raise
    except BaseException:
        process.terminate()
        process.wait()
        raise
    process.returncode = 0  # not ours to wait for any more
    return process.pid


class _Died(Exception):
    """The pipe ended before the daemon said how it went."""


def _spawn(command: Sequence[str], writing: int, log_file: Path) -> "subprocess.Popen[bytes]":
    try:
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        hint = (
            f"see that {log_file.parent} has room and can be written, or configure another log.file"
        )
        raise MpioError(f"log file {log_file}: {error.strerror}", hint=hint) from None
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
    except OSError as error:
        what = f"the daemon cannot be started: {command[0]}: {error.strerror}"
        hint = "see that this user may run that program, and enter the directories above it"
        raise MpioError(what, hint=hint) from None
    finally:
        os.close(log)


def _await_ready(lines: Iterator[str], warn: Callable[[str], None]) -> None:
    for line in lines:
        message: dict[str, Any] = json.loads(line)
        if "warning" in message:
            warn(message["warning"])
        elif "errors" in message:
            raise _error(message["errors"], message["status"])
        else:
            return
    raise _Died


def _error(texts: Sequence[str], status: int) -> Exception:
    """The daemon's errors, as if they had happened here."""
    kind = UsageError if status == USAGE_STATUS else MpioError
    errors = [kind(text) for text in texts]
    return errors[0] if len(errors) == 1 else ExceptionGroup("the daemon did not start", errors)
