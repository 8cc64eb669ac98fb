"""Fake /sys, /proc and /dev below a directory, laid out as the kernel lays them out."""

from pathlib import Path

import attrs

from mpio_fuse.device.users import HostRoots


@attrs.frozen
class Trees:
    """``roots`` is what the code under test gets; nodes below ``dev`` are ordinary files."""

    root: Path

    @property
    def roots(self) -> HostRoots:
        return HostRoots(self.root / "sys", self.root / "proc", self.root / "dev")

    def file(self, path: str, text: str) -> Path:
        """A file with that text, a newline behind it as in sysfs."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
        return file

    def link(self, path: str, target: str) -> None:
        """A relative link, both paths below the root."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(Path("../" * path.count("/")) / target)

    def scsi_device(
        self,
        sg: str,
        above: str,
        address: str,
        *,
        disk: str | None = None,
        kind: str = "0",
        number: str = "8:0",
    ) -> str:
        """One SCSI device below ``sys/devices/<above>``; returns its directory."""
        device = f"sys/devices/{above}/{address}"
        self.file(f"{device}/vendor", "LIO-ORG ")
        self.file(f"{device}/model", "disk0           ")
        self.file(f"{device}/type", kind)
        self.file(f"{device}/scsi_generic/{sg}/dev", f"21:{sg.removeprefix('sg')}")
        self.link(f"{device}/scsi_generic/{sg}/device", device)
        self.link(f"sys/class/scsi_generic/{sg}", f"{device}/scsi_generic/{sg}")
        if disk:
            self.disk(disk, f"{device}/block/{disk}", number)
        return device

    def disk(self, name: str, directory: str | None = None, number: str = "8:0") -> None:
        """A whole disk, its node and its place in sys/class/block."""
        directory = directory or f"sys/devices/disks/block/{name}"
        self.file(f"{directory}/dev", number)
        self.link(f"sys/class/block/{name}", directory)
        self.file(f"dev/{name}", "")

    def opener(self, pid: int, name: str, disk: str, words: list[str]) -> None:
        """A process that has the disk open, with the words of its command line."""
        self.file(f"proc/{pid}/comm", name)
        (self.root / f"proc/{pid}/cmdline").write_text("".join(f"{word}\0" for word in words))
        (self.root / f"proc/{pid}/fd").mkdir()
        (self.root / f"proc/{pid}/fd/5").symlink_to(self.roots.dev / disk)

    def page_83(self, device: str, naa: bytes) -> None:
        """The kernel's copy of VPD page 0x83 of a device that `scsi_device` gave."""
        designator = bytes((1, 3, 0, len(naa))) + naa
        page = bytes((0, 0x83, 0, len(designator))) + designator
        (self.root / device / "vpd_pg83").write_bytes(page)

    def partition(self, disk: str, name: str, number: str) -> None:
        """A partition of a disk made before."""
        directory = (
            (self.root / f"sys/class/block/{disk}").resolve().relative_to(self.root.resolve())
        )
        self.file(f"{directory}/{name}/dev", number)
        self.file(f"{directory}/{name}/partition", "1")
        self.link(f"sys/class/block/{name}", f"{directory}/{name}")
        self.file(f"dev/{name}", "")
