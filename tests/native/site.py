"""Hosts a and b, two cables each, and a target with one disk: all of it on loopback, and nothing of it needs root."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import attrs

from tests.native.cable import Cable
from tests.native.host import Host
from tests.transport.tgtd import DISK_BYTES, TARGET, Tgtd, running_tgtd

KEYS: Mapping[str, int] = MappingProxyType({"a": 0xA1, "b": 0xB1})
LUN = 1


@attrs.frozen
class Site:
    tgtd: Tgtd
    disk: Path
    """The target's backing file: what is in there is on the medium."""
    hosts: dict[str, Host]
    cables: dict[str, tuple[Cable, Cable]]

    @property
    def a(self) -> Host:
        return self.hosts["a"]

    @property
    def b(self) -> Host:
        return self.hosts["b"]

    def urls(self, host: str) -> list[str]:
        return [cable.url(TARGET, LUN) for cable in self.cables[host]]

    def medium(self, offset_bytes: int, length_bytes: int) -> bytes:
        with self.disk.open("rb") as disk:
            return os.pread(disk.fileno(), length_bytes, offset_bytes)

    def mount(self, *names: str) -> None:
        for name in names:
            self.hosts[name].mount(*self.urls(name))


@contextmanager
def built(
    directory: Path,
    settings: str = "",
    size_bytes: int = DISK_BYTES,
    keys: Mapping[str, int] = KEYS,
) -> Iterator[Site]:
    """Build it; nothing is mounted yet.  At the end everything is unmounted and ended.

    tgt gives the first disk of every server the same WWID, so of two sites at once one needs other ``keys``.
    """
    with ExitStack() as stack:
        place = directory / "tgt"
        place.mkdir()
        tgtd = stack.enter_context(running_tgtd(place))
        disk = tgtd.add_disk(LUN, size_bytes=size_bytes)
        cables = {name: (Cable(tgtd.port), Cable(tgtd.port)) for name in keys}
        for cable in (cable for pair in cables.values() for cable in pair):
            stack.callback(cable.pull)
            cable.plug()
        hosts = {
            name: Host(name, key, directory / name, settings=settings).make()
            for name, key in keys.items()
        }
        for host in hosts.values():
            stack.callback(host.clean_up)
        yield Site(tgtd, disk, hosts, cables)
