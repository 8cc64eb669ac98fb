"""Nodes become LUNs: grouping, contradictions, users, refusals, and that nothing is left open."""

import errno
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mpio_fuse.device.discovered import Discovery
from mpio_fuse.device.discovery import CONCURRENT_NODES, NODE_TIMEOUT_S, discover
from mpio_fuse.device.host import ThisHost
from mpio_fuse.device.openers import open_device
from mpio_fuse.device.sysfs import Attachment, SgNode
from mpio_fuse.errors import MpioError, TransportError, TransportGone, UsageError
from mpio_fuse.scsi.command import Completion, HostStatus, Status
from mpio_fuse.scsi.identity import Wwid, WwidKind
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.quirks import SCSI_DEBUG
from tests.device.answering import AnsweringTransport, disk
from tests.device.trees import Trees


@attrs.define
class FakeHost:
    """A host with nodes /dev/sg0, /dev/sg1 ...; `open` opens them."""

    nodes: dict[str, SgNode] = attrs.Factory(dict)
    transports: dict[str, AnsweringTransport] = attrs.Factory(dict)
    users: dict[str, str] = attrs.Factory(dict)
    daemons: dict[str, str] = attrs.Factory(dict)
    cannot_open: dict[str, MpioError] = attrs.Factory(dict)
    opening: int = 0
    most_opening: int = 0

    def add(self, *models: LogicalUnitModel, kind: int | None = 0) -> "FakeHost":
        """One more node for each model."""
        for model in models:
            number = len(self.transports)
            device = f"/dev/sg{number}"
            self.transports[device] = AnsweringTransport(model, device, port=number + 1)
            self.nodes[device] = SgNode(
                name=f"sg{number}",
                address=f"0:0:{number}:1",
                vendor="ACME",
                product="Array",
                device_type=kind,
                block_device=f"sd{chr(ord('a') + number)}",
                attachment=Attachment("iscsi"),
                wwid=Wwid(WwidKind.NAA, model.state.identity.naa),
            )
        return self

    def scan(self) -> list[str]:
        return list(self.nodes)

    def node(self, device_node: str) -> SgNode | None:
        return self.nodes.get(device_node)

    async def in_use(self, block_device: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self.users.get(block_device) or self.daemons.get(block_device)

    def all_nodes(self) -> dict[str, SgNode]:
        return self.nodes

    async def in_use_beside_daemons(self, block_device: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self.users.get(block_device)

    async def open(self, device: str) -> AnsweringTransport:
        self.opening += 1
        self.most_opening = max(self.opening, self.most_opening)
        await trio.lowlevel.checkpoint()
        self.opening -= 1
        if device in self.cannot_open:
            raise self.cannot_open[device]
        return self.transports[device]

    async def discover(self, *devices: str) -> Discovery:
        return await discover(devices, open_transport=self.open, host=self)

    @property
    def open_transports(self) -> list[str]:
        """Those that were sent commands and not closed."""
        return [name for name, one in self.transports.items() if one.sent and not one.is_closed]


def shown(found: Discovery) -> dict[str, list[str]]:
    """The nodes of each LUN."""
    return {str(lun.wwid): [one.device_node for one in lun.underpaths] for lun in found.luns}


def refusals(found: Discovery) -> dict[str, str]:
    return {one.device_node: one.reason for one in found.refused}


async def test_nodes_of_one_identity_are_one_lun() -> None:
    one, other = disk("1"), disk("2")
    host = FakeHost().add(one, other, one, other, one)
    async with await host.discover() as found:
        nodes = [[node.device_node for node in lun.underpaths] for lun in found.luns]
        assert nodes == [["/dev/sg0", "/dev/sg2", "/dev/sg4"], ["/dev/sg1", "/dev/sg3"]]
        assert (found.refused, found.in_use) == ((), ())
        first = found.luns[0].underpaths[0]
        assert (first.address, first.block_device, first.transport_kind) == (
            "0:0:0:1",
            "sda",
            "iscsi",
        )
        assert found.luns[0].logical_unit.has_persistent_reserve
        assert host.open_transports == list(host.nodes)
    assert host.open_transports == []


async def test_sg10_comes_after_sg2() -> None:
    model = disk()
    host = FakeHost().add(*[model] * 12)
    async with await host.discover() as found:
        assert [one.device_node for one in found.luns[0].underpaths] == list(host.nodes)


async def test_only_those_named() -> None:
    host = FakeHost().add(*[disk()] * 4)
    async with await host.discover("/dev/sg3", "/dev/sg1") as found:
        assert list(shown(found).values()) == [["/dev/sg1", "/dev/sg3"]]
    assert host.transports["/dev/sg0"].sent == []


async def test_two_names_of_one_node_are_one_underpath() -> None:
    host = FakeHost().add(disk())
    host.nodes["/dev/my-disk"] = host.nodes["/dev/sg0"]
    async with await host.discover("/dev/sg0", "/dev/my-disk", "/dev/sg0") as found:
        assert list(shown(found).values()) == [["/dev/sg0"]]


async def test_a_failing_node_is_a_note_in_a_scan_and_an_error_when_named() -> None:
    host = FakeHost().add(disk(), disk())
    host.cannot_open["/dev/sg0"] = TransportError(
        "no permission", underpath="/dev/sg0", hint="be root"
    )
    async with await host.discover() as found:
        found.raise_for_named()
        assert refusals(found) == {"/dev/sg0": "no permission; be root"}
        assert list(shown(found).values()) == [["/dev/sg1"]]


async def test_named_and_refused() -> None:
    host = FakeHost().add(disk(), disk())
    host.cannot_open["/dev/sg0"] = TransportGone("no such node", underpath="/dev/sg0")
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        with pytest.raises(MpioError, match=r"^/dev/sg0: no such node$"):
            found.raise_for_named()
    host.cannot_open["/dev/sg1"] = UsageError("no sg node", underpath="/dev/sg1")
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        with pytest.RaisesGroup(MpioError, MpioError):
            found.raise_for_named()


async def test_what_is_known_to_be_no_disk_is_not_opened() -> None:
    host = FakeHost().add(disk(), kind=0x0D)
    async with await host.discover() as found:
        assert refusals(found) == {"/dev/sg0": "not a disk: an enclosure"}
    assert host.transports["/dev/sg0"].sent == []


async def test_what_turns_out_to_be_no_disk() -> None:
    host = FakeHost().add(disk())
    host.transports["/dev/sg0"].replies["INQUIRY"] = [bytes((0x7F, 0, 6, 2, 31)) + bytes(31)]
    async with await host.discover() as found:
        assert "not a disk: nothing" in refusals(found)["/dev/sg0"]
    assert host.open_transports == []


async def test_a_node_sysfs_does_not_know_is_refused() -> None:
    """Nobody could tell whether its disk is in use."""
    host = FakeHost().add(disk())
    host.nodes.clear()
    async with await host.discover("/dev/sg0") as found:
        assert "not in /sys/class/scsi_generic" in refusals(found)["/dev/sg0"]
    assert host.transports["/dev/sg0"].is_closed


async def test_a_hung_node_costs_nothing_but_its_own_time(autojump_clock: MockClock) -> None:
    model = disk()
    host = FakeHost().add(model, model)
    host.transports["/dev/sg0"].hangs = True
    async with await host.discover() as found:
        assert list(shown(found).values()) == [["/dev/sg1"]]
        assert "no answer within 15 s" in refusals(found)["/dev/sg0"]
    assert autojump_clock.current_time() == NODE_TIMEOUT_S
    assert host.open_transports == []


async def test_an_open_that_hangs(autojump_clock: MockClock) -> None:
    host = FakeHost().add(disk(), disk())

    async def open_slowly(device: str) -> AnsweringTransport:
        if device == "/dev/sg0":
            await trio.sleep_forever()
        return host.transports[device]

    async with await discover(open_transport=open_slowly, host=host) as found:
        assert list(refusals(found)) == ["/dev/sg0"]
        assert len(found.luns) == 1
    assert autojump_clock.current_time() == NODE_TIMEOUT_S


async def test_not_too_many_at_once() -> None:
    model = disk()
    host = FakeHost().add(*[model] * (CONCURRENT_NODES * 2))
    async with await host.discover() as found:
        assert len(found.luns[0].underpaths) == CONCURRENT_NODES * 2
    assert host.most_opening == CONCURRENT_NODES


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (disk(blocks=4096), "'131072 blocks of 512 bytes'.*'4096 blocks of 512 bytes'"),
        (disk(vendor="EMCA"), "'ACME'.*'EMCA'"),
        (disk(product="Yarra"), "'Array'.*'Yarra'"),
    ],
)
async def test_contradictions(other: LogicalUnitModel, said: str) -> None:
    other.state.identity = attrs.evolve(other.state.identity, naa=disk().state.identity.naa)
    host = FakeHost().add(disk(), other, disk("2"))
    async with await host.discover() as found:
        assert list(shown(found).values()) == [["/dev/sg2"]]
        assert list(refusals(found)) == ["/dev/sg0", "/dev/sg1"]
        for refusal in found.refused:
            with pytest.raises(
                MpioError, match=f"/dev/sg0 says {said.replace('.*', '.*/dev/sg1 says ')}"
            ):
                raise refusal.error
        assert host.open_transports == ["/dev/sg2"]


async def test_contradiction_about_persistent_reserve() -> None:
    one, other = disk(), disk()
    other.state.quirks = SCSI_DEBUG
    async with await FakeHost().add(one, other).discover() as found:
        assert found.luns == ()
        assert (
            "'persistent reserve' and /dev/sg1 says 'no persistent reserve'"
            in found.refused[0].reason
        )


async def test_what_one_underpath_may_not_know_another_tells() -> None:
    model = disk(max_transfer_blocks=64)
    host = FakeHost().add(model, model)
    conflict = Completion(status=Status.RESERVATION_CONFLICT)
    host.transports["/dev/sg0"].replies["READ CAPACITY"] = [conflict]
    wide = bytes((0, 0xB0, 0, 60)) + bytes(60)
    host.transports["/dev/sg0"].replies["0xb0"] = [wide]
    async with await host.discover() as found:
        unit = found.luns[0].logical_unit
        assert unit.capacity is not None
        assert unit.capacity.blocks == 131072
        assert unit.max_transfer_blocks == 64


async def test_a_disk_in_use_keeps_all_its_nodes_out() -> None:
    model = disk()
    host = FakeHost().add(model, model, disk("2"))
    host.users["sdb"] = "mounted on /srv"
    async with await host.discover() as found:
        assert list(shown(found).values()) == [["/dev/sg2"]]
        reason = (
            "in use on this host: sdb is mounted on /srv; end that use first, or leave this LUN out"
        )
        assert refusals(found) == {"/dev/sg0": reason, "/dev/sg1": reason}
        (busy,) = found.in_use
        assert [node.in_use for node in busy.underpaths] == [None, "mounted on /srv"]
        assert host.open_transports == ["/dev/sg2"]


async def test_nodes_of_one_disk_in_use_are_one_error() -> None:
    model = disk()
    host = FakeHost().add(model, model)
    host.users["sda"] = "mounted on /srv"
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        with pytest.raises(MpioError, match=r": /dev/sg0, /dev/sg1: in use on this host") as error:
            found.raise_for_named()
    assert str(error.value).count("mounted on /srv") == 1


async def test_a_disk_in_use_that_nobody_named_keeps_its_lun_out() -> None:
    model = disk()
    host = FakeHost().add(model, model, disk("2"))
    host.users["sdb"] = "mounted on /srv"
    async with await host.discover("/dev/sg0", "/dev/sg2") as found:
        assert list(shown(found).values()) == [["/dev/sg2"]]
        assert list(refusals(found)) == ["/dev/sg0"]
        with pytest.raises(
            MpioError, match="/dev/sg0: in use on this host: sdb is mounted on /srv"
        ):
            found.raise_for_unusable()
        (busy,) = found.in_use
        nodes = [(node.device_node, node.in_use) for node in busy.underpaths]
        assert nodes == [("/dev/sg0", None), ("/dev/sg1", "mounted on /srv")]
        assert host.open_transports == ["/dev/sg2"]
    assert host.transports["/dev/sg1"].sent == []


async def test_this_host_s_disks_are_known_by_sysfs_alone(tmp_path: Path) -> None:
    """The mounted disk's sg node was not named, and is not even there below /dev."""
    trees, naa = Trees(tmp_path), disk().state.identity.naa
    for number in (0, 1):
        above = f"platform/host{number}/session{number}/target{number}:0:0"
        name = f"sd{'ab'[number]}"
        device = trees.scsi_device(
            f"sg{number}", above, f"{number}:0:0:1", disk=name, number=f"8:{16 * number}"
        )
        trees.page_83(device, naa)
    trees.file("proc/self/mountinfo", "30 1 8:16 / /srv rw - ext4 /dev/sdb rw")

    @attrs.frozen
    class TreeHost(ThisHost):
        def node(self, device_node: str) -> SgNode | None:
            return self.all_nodes().get(device_node)  # a fake tree has no character devices

    named = str(trees.roots.dev / "sg0")
    transport = AnsweringTransport(disk(), named)

    async def open_named(_device: str) -> AnsweringTransport:
        await trio.lowlevel.checkpoint()
        return transport

    host = TreeHost(trees.roots)
    async with await discover([named], open_transport=open_named, host=host) as found:
        assert found.luns == ()
        assert "in use on this host: sdb is mounted on /srv" in refusals(found)[named]
    assert transport.is_closed


async def test_a_disk_in_use_that_does_not_answer_keeps_its_lun_out() -> None:
    model = disk()
    host = FakeHost().add(model, model)
    host.users["sdb"] = "mounted on /srv"
    host.cannot_open["/dev/sg1"] = TransportError("no answer")
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        assert found.luns == ()


async def test_another_daemon_s_claim_counts_where_it_was_named_only() -> None:
    model = disk()
    host = FakeHost().add(model, model, model)
    host.daemons = {"sdb": "served by mpio-fuse at /mnt/b (pid 7)"}
    host.daemons["sdc"] = host.daemons["sdb"]
    async with await host.discover("/dev/sg0") as found:
        assert list(shown(found).values()) == [["/dev/sg0"]]
    async with await host.discover("/dev/sg1", "/dev/sg2") as found:
        assert found.luns == ()
        assert found.in_use[0].in_use == "served by mpio-fuse at /mnt/b (pid 7)"
        assert len(found.errors) == 1


UNREACHABLE = Completion(host_status=HostStatus.NO_CONNECT)


async def test_a_named_node_that_does_not_answer_is_forgiven_when_another_leads_to_a_lun() -> None:
    model = disk()
    host = FakeHost().add(model, model)
    host.transports["/dev/sg0"].replies["INQUIRY"] = [UNREACHABLE]
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        found.raise_for_unusable()
        assert list(shown(found).values()) == [["/dev/sg1"]]
        assert ["INQUIRY: host status 0x01 NO_CONNECT" in str(one) for one in found.errors] == [
            True
        ]
        with pytest.raises(MpioError, match=r"^/dev/sg0: INQUIRY: host status"):
            found.raise_for_named()
    async with await host.discover("/dev/sg0") as found:
        with pytest.raises(MpioError, match=r"^/dev/sg0: INQUIRY: host status"):
            found.raise_for_unusable()


@pytest.mark.parametrize("command", ["REPORT CAPABILITIES", "READ CAPACITY"])
async def test_a_node_that_stops_answering_half_way_is_forgiven(command: str) -> None:
    model = disk()
    host = FakeHost().add(model, model)
    host.transports["/dev/sg0"].replies = {"READ KEYS": [UNREACHABLE], command: [UNREACHABLE]}
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        found.raise_for_unusable()
        assert list(shown(found).values()) == [["/dev/sg1"]]


@pytest.mark.parametrize(
    ("error_type", "number"),
    [
        (TransportGone, errno.ENOENT), (TransportError, errno.EACCES), (TransportError, errno.EBUSY),
        (UsageError, errno.EINVAL),
    ],
)  # fmt: skip
async def test_a_named_node_that_is_none_is_not_forgiven(
    error_type: type[MpioError], number: int
) -> None:
    host = FakeHost().add(disk(), disk("2"))
    error = error_type("not to be had", underpath="/dev/sg0")
    error.errno = number
    host.cannot_open["/dev/sg0"] = error
    async with await host.discover("/dev/sg0", "/dev/sg1") as found:
        assert len(found.luns) == 1
        with pytest.raises(MpioError, match=r"^/dev/sg0: not to be had$"):
            found.raise_for_unusable()


async def test_a_disk_in_use_is_asked_for_its_name_only() -> None:
    """Anything else would take a unit attention away from its user, whose nexus this is too."""
    host = FakeHost().add(disk())
    host.users["sda"] = "claimed exclusively"
    async with await host.discover():
        pass
    assert {name.split(" VPD")[0] for name in host.transports["/dev/sg0"].sent} == {"INQUIRY"}


async def test_cancelled_half_way_nothing_stays_open() -> None:
    host = FakeHost().add(disk(), disk())
    host.transports["/dev/sg1"].hangs = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.discover)
        await wait_all_tasks_blocked()
        assert host.transports["/dev/sg1"].sent
        nursery.cancel_scope.cancel()
    assert host.open_transports == []


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("iscsi://10.0.0.1/iqn.2026-01.x", "no target and LUN in this URL"),
        ("nvme://x", "unknown kind of device nvme://"),
    ],
)
async def test_urls(device: str, said: str) -> None:
    async with await discover([device], open_transport=open_device, host=FakeHost()) as found:
        with pytest.raises(MpioError, match=f"{device}: .*{said}"):
            found.raise_for_named()
