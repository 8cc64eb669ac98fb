"""One host of the lab, as its daemon and programs see it, and the array as a program that is not ours sees it."""

import json
import shlex
from typing import Any

import attrs

from tests.lab.job import Result
from tests.lab.lab import Lab

KEYS = {"a": "0xa", "b": "0xb"}


@attrs.frozen
class Host:
    """One host of the lab: its nodes, its mountpoint, and a run directory of its own."""

    lab: Lab
    name: str

    @property
    def root(self) -> str:
        return f"/tmp/mnt-{self.name}"  # noqa: S108 - the guest's, and empty at each test

    @property
    def nodes(self) -> list[str]:
        return self.lab.nodes(self.name)

    def run(self, command: str) -> Result:
        """Run a shell command as this host; ``$LUN`` is its file of the first LUN."""
        environment = {"MPIO_FUSE_RUN_DIR": f"/tmp/run-{self.name}"}  # noqa: S108 - as above
        lun = f"LUN=$(echo {self.root}/naa.*); "
        return self.lab.run(lun + command, environment=environment, timeout_s=60)

    def mount(self, *nodes: str, config: str | None = None) -> Result:
        """Mount the nodes, or all of this host, with a configuration file's text."""
        words = ["mount", self.root, *(nodes or self.nodes), "--key", KEYS[self.name]]
        file = f"/tmp/{self.name}.toml"  # noqa: S108 - as above
        write = "true"
        if config is not None:
            words += ["--config", file]
            write = f"printf %s {shlex.quote(config)} > {file}"
        return self.run(f"mkdir -p {self.root}; {write}; mpio-fuse {shlex.join(words)}")

    def unmount(self) -> Result:
        return self.run(f"mpio-fuse unmount {self.root}")

    def lun(self) -> dict[str, Any]:
        """What status says of the only LUN."""
        (daemon,) = json.loads(self.run("mpio-fuse status --json").check().stdout)["daemons"]
        (lun,) = daemon["luns"]
        return dict(lun)

    def await_release(self) -> None:
        """close(2) returns before the kernel has told the daemon of it."""
        while self.lun()["reservation"]["owner"] == "ours":
            pass


def witness(lab: Lab, what: str) -> str:
    """What the array says, by a program that is not ours, over a nexus of host b."""
    node = lab.nodes("b")[0]
    # A unit attention, which tells of reservations taken away, is reported once, to whatever comes first.
    return (
        lab.run(f"sg_turs {node} > /dev/null 2>&1; sg_persist -n --in {what} {node}").check().stdout
    )


def keys_seen(lab: Lab) -> list[str]:
    """The registered keys, as the witness prints each on a line of its own."""
    lines = [line.strip() for line in witness(lab, "--read-keys").splitlines()]
    return [line for line in lines if line.startswith("0x")]
