"""A command in a guest, and how it ended."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

from attrs import define, field, frozen

from tests.lab.errors import CommandFailedError, GuestTimeoutError, LabError

# The work directory as the guest sees it.
GUEST_WORK = "/run/lab"
DEFAULT_TIMEOUT_S = 60.0
OUTPUT_POLL_S = 0.02
KILL_GRACE_S = 5.0
OUTPUT_TAIL_CHARACTERS = 2000

OutputSink = Callable[[str, bytes], None]


class Host(Protocol):
    """What a job needs of the guest it runs in."""

    work: Path

    def send(self, request: str) -> None: ...
    def poll(self) -> None: ...
    def stop(self) -> None: ...
    def wait_until(
        self,
        condition: Callable[[], bool],
        timeout_s: float,
        poll_s: float | None = None,
        each_time: Callable[[], None] = ...,
    ) -> bool: ...


@frozen
class Result:
    """How a command in the guest ended."""

    command: str
    status: int
    stdout: str
    stderr: str

    def check(self) -> Self:
        """Give the result itself, or raise CommandFailedError unless the exit status is 0."""
        if self.status != 0:
            raise CommandFailedError(
                f"in the guest, exit status {self.status}: {self.command}\n{self.stderr or self.stdout}"
            )
        return self


@define(eq=False)
class Job:
    """A command in the guest, running or ended."""

    guest: Host
    number: int
    command: str
    status: int | None = None
    _offsets: dict[str, int] = field(factory=lambda: {"out": 0, "err": 0})

    def _path(self, suffix: str) -> Path:
        return self.guest.work / f"{self.number}.{suffix}"

    def _read(self, suffix: str, offset: int = 0) -> bytes:
        try:
            with self._path(suffix).open("rb") as stream:
                stream.seek(offset)
                return stream.read()
        except FileNotFoundError:
            return b""

    @property
    def stdout(self) -> str:
        """What it has written so far; complete once ``status`` is known."""
        return self._read("out").decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written so far; complete once ``status`` is known."""
        return self._read("err").decode(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet, as of now."""
        self.guest.poll()
        return self.status is None

    def result(self) -> Result:
        """Give how it ended; only for an ended job."""
        if self.status is None:
            raise LabError(f"still running in the guest: {self.command}")
        return Result(self.command, self.status, self.stdout, self.stderr)

    def pass_output(self, sink: OutputSink) -> None:
        """Call ``sink("out" or "err", bytes)`` for what has been written since the last call."""
        for suffix, offset in self._offsets.items():
            if new := self._read(suffix, offset):
                self._offsets[suffix] = offset + len(new)
                sink(suffix, new)

    def wait(self, timeout_s: float = DEFAULT_TIMEOUT_S, sink: OutputSink | None = None) -> Result:
        """Wait for its end.  At the limit it is killed and GuestTimeoutError raised.

        With ``sink`` output is passed on as it appears, both streams in small pieces.
        """
        poll_s = OUTPUT_POLL_S if sink else None
        if not self.guest.wait_until(
            lambda: self.status is not None, timeout_s, poll_s, self._passer(sink)
        ):
            self.kill()
            raise GuestTimeoutError(
                f"still running in the guest after {timeout_s:g} s: {self.command}\n{self._output_tail()}"
            )
        if sink:
            self.pass_output(sink)
        return self.result()

    def wait_for_output(self, text: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Wait until it has written ``text`` on either stream; LabError if it ends without."""

        def seen() -> bool:
            return text in self.stdout or text in self.stderr

        ended = self.guest.wait_until(
            lambda: seen() or self.status is not None, timeout_s, OUTPUT_POLL_S
        )
        if not seen():
            what = "ended" if ended else f"ran {timeout_s:g} s"
            raise LabError(
                f"{what} without writing {text!r}: {self.command}\n{self._output_tail()}"
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command (its process alone, not its children)."""
        self.guest.send(f"SIGNAL {self.number} {int(number)}")

    def kill(self) -> None:
        """Kill it with all it started in its session; the whole guest if it does not go."""
        if self.status is not None:
            return
        self.guest.send(f"KILL {self.number}")
        if not self.guest.wait_until(lambda: self.status is not None, KILL_GRACE_S):
            self.guest.stop()

    def _passer(self, sink: OutputSink | None) -> Callable[[], None]:
        return (lambda: self.pass_output(sink)) if sink else (lambda: None)

    def _output_tail(self) -> str:
        return (self.stdout + self.stderr)[-OUTPUT_TAIL_CHARACTERS:]
