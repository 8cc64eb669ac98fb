"""Two real links from each host to the target: virtual Ethernet between network namespaces, with or without a wire.

The target is in the namespace of whoever calls this, a host in one named after it.  Link n of host number h has
the network 10.h.n.0/24, its target end is .1 and its host end .2.
"""

import subprocess
import sys

import attrs

from tests.native.wire import OK

WIRES = "wires"


def run(*words: str) -> str:
    """Run a command; subprocess.CalledProcessError unless it works."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def prefix(namespace: str) -> tuple[str, ...]:
    """The words that take a command there.  ``ip netns exec`` has mounts of its own, which nobody else sees."""
    return ("nsenter", f"--net=/run/netns/{namespace}", "--")


def add_namespace(name: str) -> None:
    run("ip", "netns", "add", name)
    run(*prefix(name), "ip", "link", "set", "lo", "up")


@attrs.define
class Link:
    """Link ``number`` of a host."""

    host: str
    host_number: int
    number: int
    wire: "subprocess.Popen[str] | None" = None

    @property
    def target_address(self) -> str:
        return f"10.{self.host_number}.{self.number}.1"

    @property
    def host_device(self) -> str:
        return f"{self.host}{self.number}"

    @property
    def target_device(self) -> str:
        return f"t-{self.host}{self.number}"

    def make(self, *, with_wire: bool) -> None:
        if with_wire:
            self._make_wire()
        else:
            self._add_pair(self.host_device, self.host, self.target_device)
        self._bring_up((), self.target_device, f"{self.target_address}/24")
        address = f"10.{self.host_number}.{self.number}.2/24"
        self._bring_up(prefix(self.host), self.host_device, address)

    def _add_pair(self, device: str, namespace: str, peer: str) -> None:
        run(
            "ip", "link", "add", "name", peer, "type", "veth",
            "peer", "name", device, "netns", namespace,
        )  # fmt: skip

    def _bring_up(self, where: tuple[str, ...], device: str, address: str) -> None:
        run(*where, "ip", "address", "add", address, "dev", device)
        run(*where, "ip", "link", "set", device, "up")

    def _make_wire(self) -> None:
        ends = (f"w-{self.host_device}", f"w-{self.target_device}")
        self._add_pair(ends[0], WIRES, self.host_device)
        run("ip", "link", "set", self.host_device, "netns", self.host)
        self._add_pair(ends[1], WIRES, self.target_device)
        for device in ends:
            run(*prefix(WIRES), "ip", "link", "set", device, "up")
        offload = (sys.executable, "-m", "tests.native.offload")
        run(*prefix(self.host), *offload, self.host_device)
        run(*offload, self.target_device)
        command = [*prefix(WIRES), sys.executable, "-m", "tests.native.wire", *ends]
        self.wire = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.disturb()

    def disturb(self, delay_s: float = 0.0, loss: float = 0.0, seed: int = 1) -> None:
        """Have its packets be late and lost, in both directions; without arguments: no more."""
        assert self.wire is not None
        assert self.wire.stdin is not None
        assert self.wire.stdout is not None
        self.wire.stdin.write(f"{delay_s} {loss} {seed}\n")
        self.wire.stdin.flush()
        if self.wire.stdout.readline() != OK:
            raise RuntimeError(f"the wire of {self.host_device} broke")

    def set_here(self, state: str) -> None:
        """``up`` or ``down``, at the host's end."""
        run(*prefix(self.host), "ip", "link", "set", self.host_device, state)

    def set_there(self, state: str) -> None:
        """The same at the target's end; the host's end has no carrier then, unless there is a wire between."""
        run("ip", "link", "set", self.target_device, state)

    def remove(self) -> None:
        if self.wire is not None:
            self.wire.communicate("")
        subprocess.run(["ip", "link", "delete", self.target_device], check=False)
