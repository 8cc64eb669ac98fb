"""A host: a daemon of its own, with initiator name, key and run directory, and the command line that speaks to it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tests.reliability.command import wait_for

COMMAND_LIMIT_S = 60.0
WAIT_LIMIT_S = 60.0
# The group "disk", root's default, is nobody's in a user namespace, and then nobody may write.
CONFIGURATION = """\
group = {group}
forced_open_group = {group}
[iscsi]
initiator_name = "iqn.2026-01.test:host-{name}"
{settings}
"""


class HostCommandFailed(Exception):
    """A command that must work did not."""


@attrs.frozen
class Host:
    """``prefix`` are the words that take a command to where the host is; ``settings`` is TOML for its configuration."""

    name: str
    key: int
    directory: Path
    prefix: tuple[str, ...] = ()
    settings: str = ""

    def make(self) -> "Host":
        """Make its directories and its configuration."""
        for made in (self.mountpoint, self.run_directory):
            made.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.format(group=os.getgid(), name=self.name, settings=self.settings)
        (self.directory / "config.toml").write_text(text)
        return self

    @property
    def mountpoint(self) -> Path:
        return self.directory / "mnt"

    @property
    def run_directory(self) -> Path:
        return self.directory / "run"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "MPIO_FUSE_RUN_DIR": str(self.run_directory),
            "MPIO_FUSE_INITIATOR_NAME": f"iqn.2026-01.test:host-{self.name}",
        }

    # Commands -------------------------------------------------------------------------------------------------

    def attempt(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run ``mpio-fuse`` with these words."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "mpio_fuse.cli.main", *words],
            check=False, capture_output=True, text=True, env=self.environment,
            timeout=COMMAND_LIMIT_S,
        )  # fmt: skip

    def command(self, *words: str) -> str:
        """The same, of what must work; what it prints."""
        done = self.attempt(*words)
        if done.returncode != 0:
            raise HostCommandFailed(f"host {self.name}: {' '.join(words)}: {done.stderr}")
        return done.stdout

    def mount(self, *urls: str) -> None:
        config = str(self.directory / "config.toml")
        mountpoint = str(self.mountpoint)
        self.command("mount", mountpoint, "--config", config, "--key", f"{self.key:x}", *urls)

    def unmount(self, *options: str) -> None:
        self.command("unmount", *options, str(self.mountpoint))

    def clean_up(self) -> None:
        """Have nothing mounted, whatever has happened."""
        if os.path.ismount(self.mountpoint):
            self.attempt("unmount", "--force", str(self.mountpoint))

    # Looks ----------------------------------------------------------------------------------------------------

    @property
    def lun(self) -> Path:
        """The file of the one LUN."""
        [file] = self.mountpoint.iterdir()
        return file

    def with_options(self, words: str) -> Path:
        """The same LUN below the directory of these open options."""
        return self.mountpoint / ".ext" / words / self.lun.name

    def status(self) -> dict[str, Any]:
        """What the daemon says about the LUN."""
        [daemon] = json.loads(self.command("status", "--json"))["daemons"]
        [lun] = daemon["luns"]
        assert isinstance(lun, dict)
        return lun

    def underpaths(self) -> dict[str, dict[str, Any]]:
        """What it says about each underpath, by URL."""
        return {one["device"]: one for one in self.status()["underpaths"]}

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Wait until the daemon's status is so."""
        wait_for(lambda: condition(self.status()), WAIT_LIMIT_S, f"host {self.name}: {what}")

    def log(self) -> str:
        """What its daemons have logged."""
        return "".join(file.read_text() for file in sorted(self.run_directory.glob("*.log")))
