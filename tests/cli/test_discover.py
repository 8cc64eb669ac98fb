"""``mpio-fuse discover``: what it prints of what was found, for people and for programs."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from mpio_fuse.cli import discover_report, main
from mpio_fuse.device.discovered import Discovery
from mpio_fuse.device.discovery import discover
from mpio_fuse.device.host import Host
from mpio_fuse.device.sysfs import Attachment
from mpio_fuse.errors import TransportError
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.command import Completion, Status
from mpio_fuse.scsi.pr_types import PrType
from mpio_fuse.scsi.reservation_key import ReservationKey
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.quirks import SCSI_DEBUG
from tests.device.answering import disk
from tests.device.test_discovery import FakeHost

Use = Callable[[FakeHost], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Let the command see that host."""

    def use_host(host: FakeHost) -> None:
        async def discover_there(devices: tuple[str, ...], **_: Host) -> Discovery:
            return await discover(devices, open_transport=host.open, host=host)

        monkeypatch.setattr(discover_report, "discover", discover_there)

    return use_host


def reserve(
    model: LogicalUnitModel, kind: PrType = PrType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
) -> None:
    """Another host registers over two nexuses, and reserves."""
    key = ReservationKey.from_int(0xB)
    for port, command in (
        (1, pr_out.register_and_ignore_existing_key(key)),
        (2, pr_out.register_and_ignore_existing_key(key)),
        (1, pr_out.reserve(key, kind)),
    ):
        nexus = Nexus("iqn.host-b", port)
        model.attach(nexus)
        assert model.execute(nexus, command.cdb, bytes(command.data_out)).is_good


def document(capsys: pytest.CaptureFixture[str], *devices: str, status: int = 0) -> dict[str, Any]:
    assert main.run(["discover", "--json", *devices]) == status
    return dict(json.loads(capsys.readouterr().out))


def lines(capsys: pytest.CaptureFixture[str], *devices: str) -> list[str]:
    assert main.run(["discover", *devices]) == 0
    return [line.strip("├└─ │") for line in capsys.readouterr().out.splitlines()]


def test_json(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it: every key here is a contract."""
    model = disk(max_transfer_blocks=2048)
    host = FakeHost().add(model)
    ends = {"initiator": "iqn.a", "target": "iqn.t", "portal": "10.0.0.1:3260"}
    host.nodes["/dev/sg0"] = attrs.evolve(
        host.nodes["/dev/sg0"], attachment=Attachment("iscsi", ends)
    )
    use(host)
    reserve(model, PrType.WRITE_EXCLUSIVE)
    assert document(capsys) == {
        "luns": [
            {
                "wwid": f"naa.{model.state.identity.naa.hex()}",
                "vendor": "ACME",
                "product": "Array",
                "revision": "9",
                "size_bytes": 67108864,
                "block_size_bytes": 512,
                "physical_block_size_bytes": 512,
                "max_transfer_blocks": 2048,
                "has_persistent_reserve": True,
                "capabilities": {
                    "types": [1, 3, 5, 6, 7, 8],
                    "persist_through_power_loss": True,
                    "persist_through_power_loss_active": False,
                    "specify_initiator_ports": True,
                    "all_target_ports": True,
                    "compatible_reservation_handling": True,
                },
                "generation": 2,
                "keys": ["0x000000000000000b", "0x000000000000000b"],
                "reservation": {
                    "is_held": True,
                    "holder": "0x000000000000000b",
                    "type": 1,
                    "type_name": "Write Exclusive",
                },
                "underpaths": [
                    {
                        "device_node": "/dev/sg0",
                        "address": "0:0:0:1",
                        "block_device": "sda",
                        "transport": "iscsi",
                        "nexus": ends,
                        "in_use": None,
                    }
                ],
            }
        ],
        "in_use": [],
        "refused": [],
    }
    assert host.open_transports == []


def test_json_of_what_is_unknown(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    model = disk()
    host = FakeHost().add(model)
    use(host)
    host.transports["/dev/sg0"].replies = {
        "READ RESERVATION": [b"\xff"],
        "REPORT CAPABILITIES": [Completion(status=Status.RESERVATION_CONFLICT)],
    }
    reserve(model)
    (lun,) = document(capsys)["luns"]
    unknown = ("size_bytes", "block_size_bytes", "capabilities", "reservation")
    assert [lun[key] for key in unknown] == [None] * 4
    assert len(lun["keys"]) == 2


def test_json_of_refusals(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    host = FakeHost().add(disk(), disk("2"))
    host.users["sda"] = "mounted on /srv"
    host.cannot_open["/dev/sg1"] = TransportError("no permission", hint="be root")
    use(host)
    found = document(capsys)
    assert found["luns"] == []
    assert [lun["underpaths"][0]["in_use"] for lun in found["in_use"]] == ["mounted on /srv"]
    assert [one["device_node"] for one in found["refused"]] == ["/dev/sg0", "/dev/sg1"]
    assert found["refused"][1]["reason"] == "no permission; be root"
    assert document(capsys, "/dev/sg0", status=1)["luns"] == []


def test_tree(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    model = disk()
    use(FakeHost().add(model, model))
    assert lines(capsys) == [
        f"naa.{model.state.identity.naa.hex()}  ACME Array",
        "size: 64 MiB, blocks of 512 bytes",
        "persistent reserve: yes (can survive power loss)",
        "reservation: none",
        "registrations: none",
        "/dev/sg0  0:0:0:1  sda  iscsi",
        "/dev/sg1  0:0:1:1  sdb  iscsi",
    ]


def test_tree_of_a_reserved_lun(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    model = disk()
    use(FakeHost().add(model))
    reserve(model)
    shown = lines(capsys)
    assert "size: unknown: reserved by another host" in shown
    assert "reservation: Exclusive Access, registrants only, by key 0x000000000000000b" in shown
    assert "registrations: key 0x000000000000000b on 2 nexuses" in shown


def test_tree_without_persistent_reserve(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeHost().add(LogicalUnitModel(SCSI_DEBUG)))
    shown = lines(capsys)
    assert "persistent reserve: no; single path with SCSI-2 RESERVE(6)" in shown
    assert not any(line.startswith("reservation") for line in shown)


def test_tree_of_what_is_refused(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    host = FakeHost().add(disk(), disk("2"))
    host.users["sda"] = "mounted on /srv"
    host.cannot_open["/dev/sg1"] = TransportError("no permission", hint="be root")
    use(host)
    shown = lines(capsys)
    assert "in use on this host: sda is mounted on /srv" in shown
    assert "/dev/sg0  0:0:0:1  sda  iscsi  [mounted on /srv]" in shown
    assert shown[-2:] == ["refused", "/dev/sg1: no permission; be root"]


def test_tree_of_what_a_daemon_serves(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon is told once, not for each of its disks."""
    model = disk()
    host = FakeHost().add(model, model)
    host.users = dict.fromkeys(("sda", "sdb"), "served by mpio-fuse at /mnt/a (pid 7)")
    use(host)
    shown = lines(capsys)
    assert shown[1] == "in use on this host: served by mpio-fuse at /mnt/a (pid 7)"
    assert len(shown) == 4


def test_nothing_there(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(FakeHost())
    assert lines(capsys) == [
        "No SCSI disks here: there are no /dev/sg* nodes ('modprobe sg' loads their driver)."
    ]


def test_a_named_node_that_fails(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    host = FakeHost().add(disk(), disk("2"))
    host.cannot_open["/dev/sg1"] = TransportError("broken", hint="mend it")
    use(host)
    assert main.run(["discover", "/dev/sg0", "/dev/sg1"]) == 1
    out, err = capsys.readouterr()
    assert "/dev/sg0  0:0:0:1" in out
    assert "broken" not in out
    assert err == "mpio-fuse: /dev/sg1: broken; mend it\n"


def test_no_permission_for_any_node(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    host = FakeHost().add(disk(), disk("2"))
    for device in host.nodes:
        error = TransportError("no permission to open it", underpath=device, hint="run as root")
        error.errno = 13
        host.cannot_open[device] = error
    use(host)
    assert main.run(["discover"]) == 1
    assert capsys.readouterr() == (
        "",
        "mpio-fuse: /dev/sg0: no permission to open it (nor 1 others); run as root\n",
    )


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"), (512, "512 bytes"), (1 << 10, "1 KiB"), (64 << 20, "64 MiB"), (3 << 39, "1.5 TiB"),
        ((1 << 30) - 512, "1023.9 MiB"), (7 << 60, "7 EiB"),
    ],
)  # fmt: skip
def test_sizes(size_bytes: int, text: str) -> None:
    from mpio_fuse.cli.sizes import size_text

    assert size_text(size_bytes) == text
