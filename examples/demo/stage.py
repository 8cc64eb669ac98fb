"""Where the story is told: runs its commands on a lab, prints them as people would type them, and checks its claims."""

import textwrap
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NoReturn, Protocol

from attrs import define, field
from rich.console import Console
from rich.text import Text

from tests.lab.errors import GuestTimeoutError, LabError
from tests.lab.job import Job, Result

TEXT_COLUMNS = 92
TIMEOUT_S = 60.0

Trim = Callable[[list[str]], Sequence[str]]


class ClaimFailed(Exception):
    """A claim of the story is false; the text is the claim and what was seen instead."""


class Guest(Protocol):
    """What the story needs of a lab."""

    def spawn(self, command: str, *, environment: Mapping[str, str] | None = None) -> Job: ...
    def run(
        self, command: str, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> Result: ...


def everything(lines: list[str]) -> Sequence[str]:
    """Trim nothing."""
    return lines


def nothing(_lines: list[str]) -> Sequence[str]:
    """Print nothing of a command's output."""
    return ()


@define
class Stage:
    """``variables`` are the shell variables of all commands, ``host_variables`` those of one host's besides.

    ``is_verbose`` prints all output of all commands.
    """

    guest: Guest
    out: Console
    is_verbose: bool = False
    variables: dict[str, str] = field(factory=dict)
    host_variables: Mapping[str, Mapping[str, str]] = field(factory=dict)
    claims: int = 0
    _chapters: int = 0

    # Telling --------------------------------------------------------------------------------------------------

    def _print(self, text: str, style: str = "") -> None:
        self.out.print(Text(text, style=style), soft_wrap=True)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self._print(f"\n{self._chapters}. {title}", "bold")

    def tell(self, text: str) -> None:
        """Explain."""
        self._print("")
        for line in textwrap.wrap(" ".join(text.split()), TEXT_COLUMNS - 3):
            self._print(f"   {line}")

    # Commands -------------------------------------------------------------------------------------------------

    def run(
        self, host: str, command: str, trim: Trim = everything, *, must_fail: bool = False
    ) -> Result:
        """Run a command of host ``host`` for all to see; that it succeeds (or fails) is a claim of its own."""
        self._print(f"   host-{host}# {command}", "bold cyan")
        result = self._run(command, host)
        lines = (result.stdout + result.stderr).splitlines()
        self._show(lines if self.is_verbose else trim(lines))
        if (result.status != 0) is not must_fail:
            expected = "should have failed" if must_fail else "failed"
            self.fail(f"the command {expected}: {command}", f"{result.stdout}{result.stderr}")
        return result

    def spawn(self, host: str, command: str) -> Job:
        """Start a command in the background, for all to see."""
        self._print(f"   host-{host}# {command} &", "bold cyan")
        return self.guest.spawn(command, environment=self._environment(host))

    def wait_for_output(self, job: Job, text: str) -> None:
        """Wait until a command in the background has written ``text``; that it does is a claim of its own."""
        try:
            job.wait_for_output(text, TIMEOUT_S)
        except LabError as error:
            self.fail(f"the command should have written {text!r}", error)

    def end(self, host: str, job: Job) -> None:
        """Kill a command in the background."""
        self._print(f"   host-{host}# kill %1", "bold cyan")
        job.kill()

    def ask(self, command: str, may_exit: Container[int] = (0,), host: str = "") -> Result:
        """Run a command that checks a claim, quietly; another exit status than ``may_exit`` is a failure."""
        result = self._run(command, host)
        if self.is_verbose:
            self._print(f"   check# {command}", "dim")
            self._show((result.stdout + result.stderr).splitlines())
        if result.status not in may_exit:
            self.fail(f"the check failed: {command}", f"{result.stdout}{result.stderr}")
        return result

    def show(self, lines: Sequence[str]) -> None:
        """Print output of a command that runs in the background."""
        self._show(lines)

    def _environment(self, host: str) -> Mapping[str, str]:
        return {**self.variables, **self.host_variables.get(host, {})}

    def _run(self, command: str, host: str) -> Result:
        environment = self._environment(host)
        try:
            return self.guest.run(command, timeout_s=TIMEOUT_S, environment=environment)
        except GuestTimeoutError as error:
            self.fail(f"the command should end within {TIMEOUT_S:g} s: {command}", error)

    def _show(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._print(f"     {line.rstrip()}", "dim" if self.is_verbose else "")

    # Claims ---------------------------------------------------------------------------------------------------

    def claim(self, text: str, *, holds: bool, seen: object) -> None:
        """Check a claim; ClaimFailed, with what was ``seen``, ends the story."""
        if not holds:
            self.fail(text, seen)
        self.claims += 1
        self._print(f"   ok: {text}", "green")

    def claim_equal(self, text: str, seen: object, expected: object) -> None:
        """Check that what was seen is what the story says."""
        self.claim(text, holds=seen == expected, seen=f"{seen!r} instead of {expected!r}")

    def fail(self, text: str, seen: object) -> NoReturn:
        """End the story: this is false."""
        raise ClaimFailed(f"{text}\n  seen: {textwrap.indent(str(seen), '    ').strip()}")
