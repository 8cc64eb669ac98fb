"""A person's terminal joined to a shell in the guest."""

import contextlib
import os
import select
import shlex
import shutil
import sys
import termios
import tty
from collections.abc import Iterator

from tests.lab.errors import GuestDiedError
from tests.lab.lab import Lab

CHUNK_BYTES = 4096
EXIT_POLL_S = 0.1
GREETING_LIMIT_S = 10.0

GREETING = """\
# host a: $A_NODES   host b: $B_NODES   all of it: $LAB_FABRIC   (Ctrl-D ends the lab)
"""


@contextlib.contextmanager
def _raw_terminal(fd: int) -> Iterator[None]:
    """Pass every key through, Ctrl-C too; leaves what is no terminal as it is."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _shell_script(lab: Lab) -> str:
    """Give the text that sets up the guest's end: window size, environment, prompt."""
    columns, lines = shutil.get_terminal_size()
    variables = {
        **lab.environment,
        "TERM": os.environ.get("TERM", "dumb"),
        "PS1": r"lab:\w\$ ",
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    greeting = f'printf %s "{GREETING}"\n'
    return f"stty sane rows {lines} cols {columns}\n{exports}{greeting}exec bash --norc --noprofile -i\n"


def _copy(lab: Lab, source: int) -> None:
    """Copy keys to the guest and its output to the terminal until its shell ends."""
    line = lab.guest.shell_line
    # What is typed before the guest has set its end up would be lost: wait for its greeting.
    select.select([line], [], [], GREETING_LIMIT_S)
    sources = [line.fileno(), source]
    while lab.guest.shell_status is None:
        ready = select.select(sources, [], [], EXIT_POLL_S)[0]
        if line.fileno() in ready:
            os.write(1, line.recv(CHUNK_BYTES))
        if source in ready:
            keys = os.read(source, CHUNK_BYTES)
            # The end of a file or pipe on stdin.  Ctrl-D would be lost on a shell that is running a command.
            line.sendall(keys or b"\nexit\n")
            if not keys:
                sources.remove(source)
    _drain(line.fileno())


def _drain(fd: int) -> None:
    while select.select([fd], [], [], 0)[0] and (data := os.read(fd, CHUNK_BYTES)):
        os.write(1, data)


def run_shell(lab: Lab) -> int:
    """Run a shell in the lab on this process's terminal; give its exit status."""
    lab.guest.start_shell(_shell_script(lab))
    with _raw_terminal(sys.stdin.fileno()):
        _copy(lab, sys.stdin.fileno())
    status = lab.guest.shell_status
    if status is None:
        raise GuestDiedError("the shell's guest is gone")
    return status
