"""A User Mode Linux guest on this machine's own file system, and the commands that run in it.

Theory of operation.  A guest is a Linux kernel in an ordinary process.  It boots on this machine's root file system
through hostfs, read-only, with a tmpfs laid over it: every program, the checkout and its virtual environment are there,
and nothing it writes reaches the machine.  Between a `Guest` and its guest there are:

- a *work directory*, the only place both can write.  A command goes in as ``N.sh``; its output comes back in ``N.out``
  and ``N.err``, which the guest writes straight through, so that they can be read while they grow;
- a *control line*, the guest's first serial port on a socket pair, that carries one short line an event
  (``RUN 3``, ``DONE 3 0``);
- a *supervisor* process (see there) that kills the guest and removes the work directory when we let go of it.

A `Guest` has no threads: it looks at the control line when somebody waits for something.
"""

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab import prerequisites
from tests.lab.errors import GuestDiedError, LabError
from tests.lab.job import DEFAULT_TIMEOUT_S, GUEST_WORK, Job, OutputSink, Result
from tests.lab.launch import (
    GuestSettings,
    claim_cpu,
    environment_script,
    hidden_directories,
    isolate,
    kernel_command,
    memory_directory,
)

HERE = Path(__file__).resolve().parent
BOOT_TIMEOUT_S = 60.0
CONSOLE_TAIL_LINES = 15
# Of a panic's report, what says least and takes most room.
STACK_LINE = re.compile(r"\s*\[<[0-9a-f]+>\]|RSP:|R[A-Z0-9]+: |Stack:|\s*[0-9a-f]{8} ")

Command = str | Sequence[str]


class Guest:
    """One guest: ``with Guest() as guest: guest.run("uname -r").check()``.

    Not for use by several threads at once.  Two guests are independent of each other.
    """

    def __init__(self, settings: GuestSettings = GuestSettings()) -> None:  # noqa: B008 (frozen)
        self.settings = settings
        self._jobs: dict[str, Job] = {}
        self._shell_status: int | None = None
        self._ready = False
        self._received = b""
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.launch()
        self.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Life -----------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start the guest without waiting for it, so that several can boot at once."""
        prerequisites.require(prerequisites.BOOT_PROGRAMS)
        self.work = Path(tempfile.mkdtemp(prefix="mpio-fuse-lab-"))
        self._fill_work()
        self._control, guest_control = socket.socketpair()
        self.shell_line, guest_shell = socket.socketpair()
        cpu, claim = claim_cpu()
        self._supervisor = self._start_supervisor(cpu, (guest_control, guest_shell))
        for thing in (self._control, self.shell_line, claim):
            if thing is not None:
                self._stack.callback(thing.close)
        guest_control.close()
        guest_shell.close()

    def wait_ready(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Wait until the guest takes commands; GuestDiedError, with its console's last lines, if it does not."""
        try:
            ready = self.wait_until(lambda: self._ready, timeout_s)
            if not ready:
                raise GuestDiedError(
                    f"the guest did not boot in {timeout_s:g} s\n{self.console_tail()}"
                )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the guest and remove its work directory; returns when both are done.  May be repeated."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        for stream in (supervisor.stdin, supervisor.stdout):
            if stream:
                stream.close()
        supervisor.wait()
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether the guest has been started and not been stopped, as far as is known."""
        return self._supervisor is not None

    def freeze(self) -> None:
        """Stop the guest where it is, as a host that hangs: nothing in it runs until ``thaw``."""
        os.kill(self._kernel_pid(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen guest go on; it does not know that time has passed."""
        os.kill(self._kernel_pid(), signal.SIGCONT)

    def _kernel_pid(self) -> int:
        """Find the guest's kernel, which what makes the namespaces has as its child's child.

        The processes of the guest are its children; stopping them one by one would confuse it, and is not needed.
        """
        pid = self._leader
        while Path(f"/proc/{pid}/comm").read_text().strip() != prerequisites.UML_KERNEL:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        return pid

    # Commands -------------------------------------------------------------------------------------------------

    def spawn(
        self,
        command: Command,
        *,
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes = b"",
    ) -> Job:
        """Start ``command`` (bash text, or the words of one program's command line) in the background."""
        self._check_alive()
        text = command if isinstance(command, str) else shlex.join(command)
        job = Job(self, len(self._jobs) + 1, text)
        lines = [f"echo $$ >{GUEST_WORK}/{job.number}.pid"]
        lines += [
            f"export {name}={shlex.quote(value)}" for name, value in (environment or {}).items()
        ]
        lines += [f"cd {shlex.quote(cwd)} || exit"] if cwd else []
        lines.append(
            f"exec bash -c {shlex.quote(text)}" if isinstance(command, str) else f"exec {text}"
        )
        (self.work / f"{job.number}.sh").write_text("\n".join(lines) + "\n")
        (self.work / f"{job.number}.in").write_bytes(stdin)
        self._jobs[str(job.number)] = job
        self.send(f"RUN {job.number}")
        return job

    def run(
        self,
        command: Command,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes = b"",
        sink: OutputSink | None = None,
    ) -> Result:
        """Run ``command`` to its end, whatever its exit status; see `spawn` and `Job.wait`."""
        return self.spawn(command, environment=environment, cwd=cwd, stdin=stdin).wait(
            timeout_s, sink
        )

    def start_shell(self, script: str) -> None:
        """Run shell text ``script`` on the guest's second serial line, whose other end is ``shell_line``."""
        (self.work / "shell").write_text(script)
        self._shell_status = None
        self.send("SHELL")

    @property
    def shell_status(self) -> int | None:
        """The exit status of the shell, None while it runs."""
        self.poll()
        return self._shell_status

    # The control line -----------------------------------------------------------------------------------------

    def send(self, request: str) -> None:
        """Send one request to the agent."""
        self._check_alive()
        try:
            self._control.sendall(request.encode() + b"\n")
        except OSError as error:
            raise GuestDiedError(f"the guest is gone\n{self.console_tail()}") from error

    def poll(self) -> None:
        """Take what the agent has sent so far."""
        self._receive(0.0)

    def wait_until(
        self,
        condition: Callable[[], bool],
        timeout_s: float,
        poll_s: float | None = None,
        each_time: Callable[[], None] = lambda: None,
    ) -> bool:
        """Take events until ``condition()`` is true; False at the limit; GuestDiedError if the guest dies.

        ``poll_s`` is for conditions that can come true without an event.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._receive(left_s if poll_s is None else min(left_s, poll_s))
            each_time()
        return True

    def console_tail(self) -> str:
        """Give the last lines of the guest's console."""
        try:
            text = (self.work / "console").read_text(errors="replace")
        except OSError:
            return "(the guest's console is gone)"
        lines = [line for line in text.splitlines() if not STACK_LINE.match(line)][
            -CONSOLE_TAIL_LINES:
        ]
        return "\n".join(["the guest's console ends with:", *(f"  | {line}" for line in lines)])

    def _receive(self, timeout_s: float) -> None:
        self._check_alive()
        if not select.select([self._control], [], [], max(timeout_s, 0.0))[0]:
            return
        with contextlib.suppress(ConnectionResetError):
            received = self._control.recv(4096)
        if not received:
            raise GuestDiedError(f"the guest died\n{self.console_tail()}")
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").split())

    def _take(self, words: list[str]) -> None:
        match words:
            case ["READY"]:
                self._ready = True
            case ["DONE", "shell", status]:
                self._shell_status = int(status)
            case ["DONE", number, status]:
                self._jobs[number].status = int(status)
            case _:
                raise LabError(f"the guest's agent said {words!r}\n{self.console_tail()}")

    def _check_alive(self) -> None:
        if not self.alive:
            raise GuestDiedError("the guest has been stopped")

    # Starting -------------------------------------------------------------------------------------------------

    def _fill_work(self) -> None:
        (self.work / "umid").mkdir()
        (self.work / "environment").write_text(environment_script())
        (self.work / "hidden").write_text("".join(f"{path}\n" for path in hidden_directories()))
        shutil.copy(HERE / "guest_agent.sh", self.work / "agent")
        shutil.copy(HERE / "guest_init.sh", self.work / "init")
        (self.work / "init").chmod(0o755)

    def _start_supervisor(
        self, cpu: int, lines: Sequence[socket.socket]
    ) -> subprocess.Popen[bytes]:
        control, shell = (line.fileno() for line in lines)
        fds = (control, shell, *self.settings.fds)
        command = isolate(kernel_command(self.settings, self.work, control, shell), self.work)
        wrapper = [
            sys.executable,
            "-I",
            "-S",
            str(HERE / "supervisor.py"),
            str(self.work),
            str(cpu),
        ]
        with (self.work / "console").open("wb") as console:
            supervisor = subprocess.Popen(
                [*wrapper, ",".join(map(str, fds)), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                pass_fds=fds,
                start_new_session=True,
                env={
                    "PATH": prerequisites.SEARCH_PATH,
                    "TMPDIR": memory_directory(self.settings.memory_bytes, self.work),
                },
            )
        self._leader = _read_pid(supervisor.stdout)
        return supervisor


def _read_pid(stream: IO[bytes] | None) -> int:
    line = stream.readline() if stream else b""
    if not line:
        raise GuestDiedError("the guest's supervisor ended before it started the guest")
    return int(line)
