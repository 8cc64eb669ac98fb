"""What the kernel says of an sg node without a command being sent: its address, its disk, the way it is attached.

sysfs may change under a reader: a file that is gone, or was never there, reads as empty, and an entry without an
address as no entry.  Text that came from a target or an administrator is made printable.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs

from mpio_fuse.errors import DecodeError
from mpio_fuse.scsi.identity import Wwid, logical_unit_wwid
from mpio_fuse.scsi.vpd import decode_device_identification

SCSI_GENERIC_MAJOR = 21
"""Documentation/admin-guide/devices.txt: 21 char is the sg driver."""

UNKNOWN = "unknown"
"""The kind of an attachment the kernel says nothing about."""

_ADDRESS = re.compile(r"\d+:\d+:\d+:\d+")


@attrs.frozen
class Attachment:
    """How a device is attached: ``iscsi``, ``fc``, ``sas``, ``tcm_loop``, or else its host's driver.

    ``ends`` names both ends of the nexus in the transport's own words, as far as the kernel knows them: iscsi
    has ``initiator``, ``target`` and ``portal``; fc and sas have ``initiator`` and ``target``.
    """

    kind: str
    ends: Mapping[str, str] = attrs.Factory(dict)


@attrs.frozen
class SgNode:
    """One sg node.  ``device_type`` is the PERIPHERAL DEVICE TYPE, None when the kernel does not say.

    ``block_device`` is the kernel's name of the disk (``sda``), None when no disk driver is bound to it.
    ``wwid`` is its identity by the kernel's own copy of VPD page 0x83, taken when it found the device; None when it
    has none.
    """

    name: str
    address: str
    vendor: str
    product: str
    device_type: int | None
    block_device: str | None
    attachment: Attachment
    wwid: Wwid | None = None


@attrs.frozen
class Sysfs:
    """The kernel's device tree, by default the real one."""

    root: Path = Path("/sys")

    def sg_names(self) -> list[str]:
        """All sg nodes' names, ``sg2`` before ``sg10``."""
        found = _names(self.root / "class/scsi_generic")
        return sorted(
            (one for one in found if one.startswith("sg")), key=lambda one: (len(one), one)
        )

    def sg_name_of(self, device_node: str) -> str | None:
        """The kernel's name of a device node, whatever the node itself is called; None if it is no sg node."""
        try:
            status = Path(device_node).stat()
        except (OSError, ValueError):
            return None
        if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != SCSI_GENERIC_MAJOR:
            return None
        return self.sg_name_of_number(SCSI_GENERIC_MAJOR, os.minor(status.st_rdev))

    def sg_name_of_number(self, major: int, minor: int) -> str | None:
        """The kernel's name of the sg node with that device number."""
        number = f"{major}:{minor}"
        entries = self.root / "class/scsi_generic"
        return next(
            (name for name in self.sg_names() if _text(entries / name / "dev") == number), None
        )

    def sg_node(self, name: str) -> SgNode | None:
        """What is known of the sg node called ``name`` (``sg3``); None when there is none."""
        device = Path(os.path.realpath(self.root / "class/scsi_generic" / name / "device"))
        if not _ADDRESS.fullmatch(device.name):
            return None
        kind = _text(device / "type")
        return SgNode(
            name=name,
            address=device.name,
            vendor=_text(device / "vendor"),
            product=_text(device / "model"),
            device_type=int(kind) if kind.isdecimal() else None,
            block_device=next(iter(_names(device / "block")), None),
            attachment=self._attachment(device),
            wwid=_wwid(device / "vpd_pg83"),
        )

    def _attachment(self, device: Path) -> Attachment:
        above = [part for part in device.parts if part]
        for part in above:
            if re.fullmatch(r"session\d+", part):
                return self._iscsi(part)
            if re.fullmatch(r"rport-[\d:-]+", part):
                return self._fc(part, _host(above))
            if re.fullmatch(r"end_device-[\d:]+", part):
                return self._sas(part, _host(above))
        driver = _text(self.root / "class/scsi_host" / _host(above) / "proc_name")
        return Attachment("tcm_loop" if driver == "tcm_loopback" else driver or UNKNOWN)

    def _iscsi(self, session: str) -> Attachment:
        facts = self.root / "class/iscsi_session" / session
        connection = (
            self.root / "class/iscsi_connection" / f"connection{session.removeprefix('session')}:0"
        )
        address = _text(connection / "persistent_address") or _text(connection / "address")
        port = _text(connection / "persistent_port") or _text(connection / "port")
        return _attachment(
            "iscsi",
            initiator=_text(facts / "initiatorname"),
            target=_text(facts / "targetname"),
            portal=_portal(address, port),
        )

    def _fc(self, remote_port: str, host: str) -> Attachment:
        return _attachment(
            "fc",
            initiator=_text(self.root / "class/fc_host" / host / "port_name"),
            target=_text(self.root / "class/fc_remote_ports" / remote_port / "port_name"),
        )

    def _sas(self, end_device: str, host: str) -> Attachment:
        return _attachment(
            "sas",
            initiator=_text(self.root / "class/scsi_host" / host / "host_sas_address"),
            target=_text(self.root / "class/sas_device" / end_device / "sas_address"),
        )


def _attachment(kind: str, **ends: str) -> Attachment:
    return Attachment(kind, {end: name for end, name in ends.items() if name})


def _portal(address: str, port: str) -> str:
    if not address:
        return ""
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if port else host


def _host(parts: list[str]) -> str:
    """The SCSI host above a device; the last of them, for bridges have hosts below hosts."""
    hosts = [part for part in parts if re.fullmatch(r"host\d+", part)]
    return hosts[-1] if hosts else "none"


def _text(file: Path) -> str:
    try:
        content = file.read_text(errors="replace")
    except OSError:
        return ""
    stripped = content.strip()
    # iscsi prints an attribute nobody has set as "(null)" or "<NULL>".
    if stripped in {"(null)", "<NULL>"}:
        return ""
    return "".join(character if character.isprintable() else "?" for character in stripped)


def _wwid(page_83: Path) -> Wwid | None:
    try:
        return logical_unit_wwid(decode_device_identification(page_83.read_bytes()))
    except (OSError, DecodeError):
        return None


def _names(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except OSError:
        return []
