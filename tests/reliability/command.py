"""Runs in the guest: commands that must work, and waiting for what tells nobody that it has happened."""

import subprocess
import time
from collections.abc import Callable

LIMIT_S = 90.0
POLL_S = 0.05


class CommandFailed(Exception):
    """A command that must work did not."""


def run(*words: str) -> str:
    """Run a command; its output."""
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def try_to_run(*words: str) -> bool:
    """Run a command; whether it worked."""
    try:
        run(*words)
    except (CommandFailed, subprocess.TimeoutExpired):
        return False
    return True


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until something is so; TimeoutError that says ``what`` was waited for."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {limit_s:g} s for {what}")
        time.sleep(POLL_S)
