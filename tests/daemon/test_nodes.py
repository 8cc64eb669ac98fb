"""Device nodes that are taken in and out while their LUN is served."""

from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from mpio_fuse.daemon.hotplug import NodeEvent, follow
from mpio_fuse.daemon.nodes import NodeLun, Nodes
from mpio_fuse.device.claim import Claim
from mpio_fuse.device.pseudo_device import PseudoDevice
from mpio_fuse.device.settings import Settings
from mpio_fuse.device.sysfs import Attachment
from mpio_fuse.errors import MpioError
from mpio_fuse.target.logical_unit import LogicalUnitModel
from tests.device.answering import disk
from tests.device.test_discovery import FakeHost
from tests.device.world import KEYS, stamp


@attrs.define
class FakeClaim:
    """Notes what is held."""

    held: list[str] = attrs.Factory(list)

    async def add(self, block_device: str) -> None:
        await trio.lowlevel.checkpoint()
        self.held.append(block_device)

    def drop(self, block_device: str) -> None:
        self.held.remove(block_device)


@attrs.define
class Lun:
    device: PseudoDevice
    claim: Claim
    disks: dict[str, str] = attrs.Factory(dict)


@attrs.define
class Served:
    """One LUN over /dev/sg0, on a host that has more nodes."""

    host: FakeHost
    lun: Lun
    claim: FakeClaim
    nodes: Nodes

    @property
    def underpaths(self) -> list[str]:
        return [one.name for one in self.lun.device.underpaths]


async def _serve(*models: LogicalUnitModel, named: tuple[str, ...] = ()) -> Served:
    host = FakeHost().add(*models)
    found = await host.discover("/dev/sg0")
    node = found.luns[0].underpaths[0]
    device = PseudoDevice(node.logical_unit, [node.transport], Settings(KEYS["a"]))
    await device.configure()
    claim = FakeClaim(["sda"])
    lun = Lun(device, cast("Claim", claim), {"/dev/sg0": "sda"})
    luns: list[NodeLun] = [lun]
    return Served(host, lun, claim, Nodes(lambda: luns, host.open, host, frozenset(named)))


async def test_a_node_of_the_lun_is_claimed_and_taken_in() -> None:
    one = disk("1")
    served = await _serve(one, one)
    handle = await served.lun.device.open()
    assert await served.nodes.add("/dev/sg1") == served.lun.device.name
    assert served.underpaths == ["/dev/sg0", "/dev/sg1"]
    assert served.claim.held == ["sda", "sdb"]
    for number in range(4):
        await handle.write(4096 * number, stamp("both"))
    assert all(underpath.counters.writes for underpath in served.lun.device.underpaths)


async def test_a_node_that_goes_gives_its_disk_back() -> None:
    one = disk("1")
    served = await _serve(one, one)
    await served.nodes.add("/dev/sg1")
    await served.nodes.remove("/dev/sg0", served.lun.device.name)
    assert served.underpaths == ["/dev/sg1"]
    assert served.claim.held == ["sdb"]
    assert served.host.open_transports == ["/dev/sg1"]


@pytest.mark.parametrize(
    ("device_node", "lun", "words"),
    [
        ("/dev/sg0", None, "is an underpath already"),
        ("/dev/sg2", None, "which is not served here"),
        ("/dev/sg1", "another", "leads to naa"),
    ],
)
async def test_what_cannot_be_taken_in_is_one_line_and_closed(
    device_node: str, lun: str | None, words: str
) -> None:
    one = disk("1")
    served = await _serve(one, one, disk("2"))
    with pytest.raises(MpioError, match=words) as error:
        await served.nodes.add(device_node, lun)
    assert device_node in str(error.value)
    assert served.underpaths == ["/dev/sg0"]
    assert served.claim.held == ["sda"]
    assert served.host.open_transports == ["/dev/sg0"]


async def test_a_disk_that_is_in_use_is_left_alone() -> None:
    one = disk("1")
    served = await _serve(one, one)
    served.host.users["sdb"] = "mounted on /srv"
    with pytest.raises(MpioError, match="mounted on /srv"):
        await served.nodes.add("/dev/sg1")
    assert served.claim.held == ["sda"]


async def test_the_last_node_of_an_open_lun_stays() -> None:
    served = await _serve(disk("1"))
    await served.lun.device.open()
    with pytest.raises(MpioError, match="the last usable underpath"):
        await served.nodes.remove("/dev/sg0")
    assert served.claim.held == ["sda"]


async def test_an_unknown_node_is_one_line() -> None:
    served = await _serve(disk("1"))
    with pytest.raises(MpioError, match="no such underpath"):
        await served.nodes.remove("/dev/sg9")


@pytest.mark.expects_log("underpath removed")
async def test_a_node_that_io_found_gone_is_taken_out() -> None:
    one = disk("1")
    served = await _serve(one, one)
    await served.nodes.add("/dev/sg1")
    await served.host.transports["/dev/sg1"].aclose()
    await served.lun.device.situation()
    assert served.lun.device.underpaths[1].state.value == "removed"
    await served.nodes.remove("/dev/sg1")
    assert served.underpaths == ["/dev/sg0"]
    assert served.claim.held == ["sda"]


async def _followed(served: Served, *events: NodeEvent) -> None:
    waiting = list(events)

    async def next_events() -> list[NodeEvent]:
        if not waiting:
            await trio.sleep_forever()
        return [waiting.pop(0)]

    with trio.move_on_after(30):
        await follow(served.nodes, next_events)


@pytest.mark.virtual_clock
@pytest.mark.expects_log("underpath added|underpath removed")
async def test_nodes_that_appear_and_vanish_are_followed(autojump_clock: MockClock) -> None:
    one = disk("1")
    served = await _serve(one, one, disk("2"))
    await _followed(served, NodeEvent("add", "/dev/sg1"), NodeEvent("add", "/dev/sg2"))
    assert served.underpaths == ["/dev/sg0", "/dev/sg1"]
    await _followed(served, NodeEvent("remove", "/dev/sg0"), NodeEvent("remove", "/dev/sg7"))
    assert served.underpaths == ["/dev/sg1"]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("is_named", [True, False])
async def test_of_nodes_that_were_named_no_other_is_taken_in(
    autojump_clock: MockClock, *, is_named: bool, announce_log: object
) -> None:
    one = disk("1")
    named = ("/dev/sg0", "/dev/sg1") if is_named else ("/dev/sg0",)
    served = await _serve(one, one, named=named)
    if is_named:
        announce_log("underpath added")  # type: ignore[operator]
    await _followed(served, NodeEvent("add", "/dev/sg1"))
    assert served.underpaths == ["/dev/sg0", "/dev/sg1"][: 1 + is_named]


def _initiator_of(served: Served, device_node: str, name: str) -> None:
    node = served.host.nodes[device_node]
    ends = {"initiator": name}
    served.host.nodes[device_node] = attrs.evolve(node, attachment=Attachment("iscsi", ends))


async def test_a_node_of_another_initiator_is_refused() -> None:
    """Another host may be registered there, under its own key."""
    one = disk("1")
    served = await _serve(one, one)
    _initiator_of(served, "/dev/sg0", "iqn.a")
    _initiator_of(served, "/dev/sg1", "iqn.b")
    with pytest.raises(MpioError, match=r"is a node of initiator iqn\.b"):
        await served.nodes.add("/dev/sg1")
    assert served.host.open_transports == ["/dev/sg0"]
    assert served.claim.held == ["sda"]


@pytest.mark.virtual_clock
@pytest.mark.expects_log("underpath added|underpath removed")
@pytest.mark.parametrize("initiator", ["iqn.a", "iqn.b"])
async def test_a_named_node_comes_back_under_another_name(
    initiator: str, autojump_clock: MockClock
) -> None:
    one = disk("1")
    served = await _serve(one, one, one, named=("/dev/sg0", "/dev/sg1"))
    for device_node, name in (
        ("/dev/sg0", "iqn.a"),
        ("/dev/sg1", "iqn.a"),
        ("/dev/sg2", initiator),
    ):
        _initiator_of(served, device_node, name)
    await served.nodes.add("/dev/sg1")
    await _followed(served, NodeEvent("add", "/dev/sg2"))
    assert served.underpaths == ["/dev/sg0", "/dev/sg1"]
    await _followed(served, NodeEvent("remove", "/dev/sg0"))
    await _followed(served, NodeEvent("add", "/dev/sg2"))
    expected = ["/dev/sg1", "/dev/sg2"] if initiator == "iqn.a" else ["/dev/sg1"]
    assert served.underpaths == expected
