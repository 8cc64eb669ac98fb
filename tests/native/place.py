"""Where cases happen: a target, a medium, and hosts with two links each.  Inside the namespaces of `namespaces`."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.native.host import Host
from tests.native.links import WIRES, Link, add_namespace, prefix, run
from tests.transport.tgtd import TARGET, Tgtd, running_tgtd

KEYS = {"a": 0xA1, "b": 0xB1}
LUN = 1
LINKS = 2


@attrs.frozen
class Place:
    tgtd: Tgtd
    disk: Path
    hosts: dict[str, Host]
    links: dict[str, list[Link]]

    @property
    def a(self) -> Host:
        return self.hosts["a"]

    @property
    def b(self) -> Host:
        return self.hosts["b"]

    def urls(self, host: str) -> list[str]:
        port = self.tgtd.port
        return [f"iscsi://{one.target_address}:{port}/{TARGET}/{LUN}" for one in self.links[host]]

    def mount(self, host: str) -> None:
        self.hosts[host].mount(*self.urls(host))

    def open_portals(self) -> None:
        """Have the target listen at the target end of every link."""
        for link in (link for pair in self.links.values() for link in pair):
            portal = f"portal={link.target_address}:{self.tgtd.port}"
            self.tgtd.admin("portal", "new", "--param", portal)

    def restart_target(self) -> None:
        """Kill it, and start it again with the same disk.  It has forgotten everything else."""
        self.kill_target()
        self.start_target()

    def kill_target(self) -> None:
        self.tgtd.kill()

    def start_target(self) -> None:
        self.tgtd.start(self.tgtd.port)
        self.tgtd.add_target()
        self.tgtd.add_disk(LUN)
        self.open_portals()

    def medium(self, offset_bytes: int, length_bytes: int) -> bytes:
        """What is there, by the target's backing file."""
        with self.disk.open("rb") as disk:
            return os.pread(disk.fileno(), length_bytes, offset_bytes)


@contextmanager
def built(
    directory: Path, settings: str, host_names: str, *, with_wires: bool = False
) -> Iterator[Place]:
    """Build it; nothing is mounted yet."""
    with ExitStack() as stack:
        (directory / "tgt").mkdir(parents=True)
        tgtd = stack.enter_context(running_tgtd(directory / "tgt"))
        disk = tgtd.add_disk(LUN)
        hosts = {
            name: Host(name, KEYS[name], directory / name, prefix(name), settings).make()
            for name in host_names
        }
        links = {
            name: [Link(name, list(KEYS).index(name) + 1, number + 1) for number in range(LINKS)]
            for name in host_names
        }
        for name in [*host_names, *([WIRES] if with_wires else [])]:
            add_namespace(name)
            stack.callback(_delete_namespace, name)
        for link in (link for pair in links.values() for link in pair):
            stack.callback(link.remove)
            link.make(with_wire=with_wires)
        place = Place(tgtd, disk, hosts, links)
        place.open_portals()
        for host in hosts.values():
            stack.callback(host.clean_up)
        yield place


def _delete_namespace(name: str) -> None:
    run("ip", "netns", "delete", name)
