"""What an earlier opener of an sg node left in the kernel, as the kernel's counters tell."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from mpio_fuse.scsi.block import read
from mpio_fuse.transport.sg.driver_table import active_commands
from mpio_fuse.transport.sg.inherited import LIMIT_S, Inherited
from mpio_fuse.transport.sg.transport import SgTransport
from mpio_fuse.transport.slots import Slots
from tests.transport.fake_driver import FakeNode

WRAPPED = 1 << 32


@attrs.define
class FakeDevice:
    """A SCSI device's directory in sysfs, and a clock."""

    path: Path
    now_s: float = 1000.0
    in_driver: int | None = None

    def says(self, requested: int, done: int, state: str = "running") -> None:
        self.write("iorequest_cnt", f"{requested % WRAPPED:#x}\n")
        self.write("iodone_cnt", f"{done % WRAPPED:#x}\n")
        self.write("state", f"{state}\n")

    def write(self, name: str, text: str | bytes) -> None:
        (self.path / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def opened(self) -> Inherited:
        return Inherited(self.path, lambda: self.now_s, lambda: self.in_driver)


@pytest.fixture
def device(tmp_path: Path) -> FakeDevice:
    return FakeDevice(tmp_path)


def test_an_idle_device_has_left_nothing_and_is_not_asked_again(device: FakeDevice) -> None:
    device.says(0x1A, 0x1A)
    inherited = device.opened()
    device.says(0x20, 0x1A)
    assert inherited.count(0) == 0


def test_what_is_under_way_at_the_open_counts_until_it_is_over(device: FakeDevice) -> None:
    device.says(0x1A, 0x18)
    inherited = device.opened()
    assert inherited.count(0) == 2
    device.says(0x1A, 0x19)
    assert inherited.count(0) == 1
    device.says(0x1A, 0x1A)
    assert inherited.count(0) == 0
    device.says(0x1F, 0x1A)
    assert inherited.count(0) == 0


def test_our_own_commands_do_not_count(device: FakeDevice) -> None:
    device.says(0x10, 0x0F)
    inherited = device.opened()
    device.says(0x14, 0x0F)
    assert inherited.count(4) == 1


def test_our_own_commands_hide_none(device: FakeDevice) -> None:
    """Ours may be over in the kernel before we have heard of it."""
    device.says(0x10, 0x0F)
    inherited = device.opened()
    device.says(0x12, 0x11)
    assert inherited.count(2) == 1
    assert inherited.count(0) == 1


def test_the_counters_wrap(device: FakeDevice) -> None:
    device.says(WRAPPED + 1, WRAPPED - 1)
    assert device.opened().count(0) == 2


def test_more_done_than_requested_is_nothing_under_way(device: FakeDevice) -> None:
    device.says(0x10, 0x12)
    assert device.opened().count(0) == 0


def test_a_command_that_comes_and_goes_between_the_two_reads_hides_none(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.says(0x10, 0x0F)
    inherited = device.opened()
    honest, seen = Path.open, []

    def busy(path: Path, mode: str) -> object:
        if path.name.endswith("_cnt") and mode == "rb":
            seen.append(path)
            if len(seen) == 2:
                device.says(0x11, 0x10)
        return honest(path, mode)

    monkeypatch.setattr(Path, "open", busy)
    assert inherited.count(0) == 2
    monkeypatch.undo()
    assert inherited.count(0) == 1


def test_after_the_limit_a_difference_is_the_kernels_miscount(device: FakeDevice) -> None:
    device.says(0x10, 0x0F)
    inherited = device.opened()
    device.now_s += LIMIT_S - 1
    assert inherited.count(0) == 1
    device.now_s += 1
    assert inherited.count(0) == 0


def test_a_blocked_device_may_hold_what_is_not_counted_yet(device: FakeDevice) -> None:
    device.says(0x10, 0x10, "blocked")
    inherited = device.opened()
    device.now_s += LIMIT_S + 1
    assert inherited.count(0) == 1
    device.says(0x11, 0x10)
    assert inherited.count(0) == 1
    device.says(0x11, 0x11)
    assert inherited.count(0) == 0


def test_the_drivers_own_table_overrules_a_miscount(device: FakeDevice) -> None:
    device.says(0x10, 0x0E)
    device.in_driver = 1
    inherited = device.opened()
    device.now_s += LIMIT_S
    assert inherited.count(0) == 1
    device.in_driver = 0
    assert inherited.count(0) == 0


def test_the_drivers_own_table_knows_what_a_blocked_device_holds(device: FakeDevice) -> None:
    device.says(0x10, 0x10, "blocked")
    device.in_driver = 3
    inherited = device.opened()
    assert inherited.count(0) == 3
    device.in_driver = 0
    assert inherited.count(0) == 0


@pytest.mark.parametrize("name", ["iorequest_cnt", "iodone_cnt"])
@pytest.mark.parametrize(
    "text", ["", "many", "-0x5", "0x100000000", b"\xff\xfe", "0x" + "f" * 5000]
)
def test_a_counter_that_is_none_tells_of_nothing(
    device: FakeDevice, name: str, text: str | bytes
) -> None:
    device.says(0x10, 0x08)
    device.write(name, text)
    assert device.opened().count(0) == 0


@pytest.mark.parametrize("name", ["iorequest_cnt", "iodone_cnt"])
def test_a_kernel_that_does_not_count_tells_of_nothing(device: FakeDevice, name: str) -> None:
    device.says(0x10, 0x08)
    (device.path / name).unlink()
    assert device.opened().count(0) == 0


def test_a_device_that_is_deleted_leaves_nothing(device: FakeDevice) -> None:
    device.says(0x10, 0x08)
    inherited = device.opened()
    for file in device.path.iterdir():
        file.unlink()
    assert inherited.count(0) == 0


@given(texts=st.lists(st.binary(max_size=20), min_size=3, max_size=3), ours=st.integers(0, 20))
def test_whatever_the_files_say_it_is_a_number(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], ours: int
) -> None:
    device = FakeDevice(tmp_path_factory.mktemp("device"))
    for name, text in zip(("iorequest_cnt", "iodone_cnt", "state"), texts, strict=True):
        device.write(name, text)
    assert 0 <= device.opened().count(ours) < WRAPPED


# The driver's table ------------------------------------------------------------------------------------------------

TABLE = """\
max_active_device=3  def_reserved_size=32768
 >>> device=sg0 0:0:0:0   em=0 sg_tablesize=2048 excl=0 open_cnt=2
   FD(1): timeout=60000ms bufflen=524288 (res)sgat=16 low_dma=0
   cmd_q=1 f_packid=0 k_orphan=0 closed=0
     No requests active
 >>> device=sg1 0:0:0:1   em=0 sg_tablesize=2048 excl=0 open_cnt=0
   FD(1): timeout=60000ms bufflen=524288 (res)sgat=16 low_dma=0
   cmd_q=1 f_packid=0 k_orphan=0 closed=0
     rb>> act: id=0 blen=512 t_o/elap=30000/160ms sgat=1 op=0x2a
     fin: id=2 blen=512 dur=16ms sgat=1 op=0x2a
   FD(2): timeout=60000ms bufflen=32768 (res)sgat=1 low_dma=0
   cmd_q=0 f_packid=0 k_orphan=0 closed=0
     act: id=1 blen=512 t_o/elap=30000/160ms sgat=1 op=0x2a
 >>> device=sg11 0:0:0:2   em=0 sg_tablesize=2048 excl=0 open_cnt=0
   FD(1): timeout=60000ms bufflen=524288 (res)sgat=16 low_dma=0
   cmd_q=1 f_packid=0 k_orphan=0 closed=0
     act: id=0 blen=512 t_o/elap=30000/160ms sgat=1 op=0x2a
"""


@pytest.mark.parametrize(("name", "active"), [("sg0", 0), ("sg1", 2), ("sg11", 1), ("sg2", None)])
def test_what_the_driver_has_under_way_for_a_node(
    tmp_path: Path, name: str, active: int | None
) -> None:
    table = tmp_path / "debug"
    table.write_text(TABLE)
    assert active_commands(name, table) == active


@pytest.mark.parametrize(
    "text", [b"", b"\xff >>> \n>>>\n act:\n", b">>> device=sg12 act:\n act:\n"]
)
def test_a_table_that_is_none_tells_nothing(tmp_path: Path, text: bytes) -> None:
    table = tmp_path / "debug"
    assert active_commands("sg1", table) is None
    table.write_bytes(text)
    assert active_commands("sg1", table) is None


# The transport -----------------------------------------------------------------------------------------------------


@pytest.fixture
def node() -> Iterator[FakeNode]:
    node = FakeNode()
    yield node
    node.close()


async def test_a_transport_counts_them_as_stranded_beside_its_own(
    device: FakeDevice, node: FakeNode, nursery: trio.Nursery
) -> None:
    device.says(0x10, 0x0F)
    transport = SgTransport(
        "/dev/sg9", node.node, node.driver, Slots(100), inherited=device.opened()
    )
    assert transport.stranded == 1
    nursery.start_soon(transport.execute, read(1, bytearray(512), 512))
    await wait_all_tasks_blocked()
    device.says(0x11, 0x0F)
    assert transport.stranded == 1
    node.driver.answer_all()
    await wait_all_tasks_blocked()
    device.says(0x11, 0x10)
    assert transport.stranded == 1
    device.says(0x11, 0x11)
    assert transport.stranded == 0
    await transport.aclose()
