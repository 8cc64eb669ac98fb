"""The exclusive claim on a real kernel's disks.  Runs in the guest, with real nodes."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from mpio_fuse.device import claim as claiming
from mpio_fuse.device.claim import Claim, DeviceInUse, in_use
from mpio_fuse.device.sysfs import Sysfs
from mpio_fuse.device.users import HostRoots
from mpio_fuse.errors import MpioError
from tests.lab.fabric import FabricReport

pytestmark = pytest.mark.in_guest


@pytest.fixture
def disk(lab_fabric: FabricReport) -> str:
    return lab_fabric.select("a")[0].block.removeprefix("/dev/")


@pytest.fixture
async def claim(disk: str) -> AsyncIterator[Claim]:
    with Claim("naa.x") as claim:
        await claim.add(disk)
        yield claim


def exclusive(disk: str) -> int:
    return os.open(f"/dev/{disk}", os.O_RDONLY | os.O_EXCL)


async def test_it_keeps_others_out(claim: Claim, disk: str) -> None:
    with pytest.raises(OSError, match="busy"):
        exclusive(disk)
    done = await trio.run_process(
        ["mount", "-o", "ro", f"/dev/{disk}", "/mnt"], check=False, capture_stderr=True
    )
    assert done.returncode != 0
    assert claim.block_devices == (disk,)


async def test_it_ends(claim: Claim, disk: str) -> None:
    claim.close()
    claim.close()
    os.close(exclusive(disk))
    assert await in_use(disk) is None


async def test_one_disk_dropped(claim: Claim, disk: str, lab_fabric: FabricReport) -> None:
    other = lab_fabric.select("a")[1].block.removeprefix("/dev/")
    await claim.add(other)
    await claim.add(other)
    claim.drop(disk)
    claim.drop(disk)
    assert claim.block_devices == (other,)
    os.close(exclusive(disk))
    with pytest.raises(OSError, match="busy"):
        exclusive(other)


async def test_who_has_it_is_told(claim: Claim, disk: str) -> None:
    said = await in_use(disk)
    assert said is not None
    assert said.startswith("claimed exclusively, and open in ")
    assert said.endswith(f"(pid {os.getpid()})")
    with Claim("naa.y") as second:
        with pytest.raises(
            DeviceInUse, match=f"naa.y: /dev/{disk}: in use on this host: {said[:10]}"
        ):
            await second.add(disk)
        assert second.block_devices == ()


async def test_a_claim_of_an_instant_is_waited_for(
    disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends while its user is being looked for."""
    fds = [exclusive(disk)]

    def find_user(block_device: str, _roots: HostRoots) -> None:
        assert block_device == disk
        os.close(fds.pop())

    monkeypatch.setattr(claiming, "find_user", find_user)
    with Claim("naa.x") as claim:
        await claim.add(disk)
        assert claim.block_devices == (disk,)
    assert fds == []


async def test_looking_takes_nothing(disk: str) -> None:
    assert await in_use(disk) is None
    os.close(exclusive(disk))


async def test_all_disks_as_sysfs_names_them(lab_fabric: FabricReport) -> None:
    """Those of both hosts, at once."""
    disks = [Sysfs().sg_node(one.sg.removeprefix("/dev/")) for one in lab_fabric.nodes]
    with Claim("naa.x") as claim:
        for node in disks:
            assert node is not None
            assert node.block_device is not None
            await claim.add(node.block_device)
        assert len(claim.block_devices) == 4


async def test_no_such_disk() -> None:
    with (
        Claim("naa.x") as claim,
        pytest.raises(MpioError, match="/dev/sdzz: cannot be claimed: No such"),
    ):
        await claim.add("sdzz")


@pytest.fixture
def misleading(disk: str, lab_fabric: FabricReport) -> Iterator[str]:
    """While it lasts, the disk's node leads to another disk, which it gives."""
    other = lab_fabric.select("b")[0].block
    node = Path(f"/dev/{disk}")
    aside = node.rename("/dev/aside")
    node.symlink_to(other)
    yield other.removeprefix("/dev/")
    aside.rename(node)


async def test_a_node_that_is_another_disk(disk: str, misleading: str) -> None:
    with (
        Claim("naa.x") as claim,
        pytest.raises(MpioError, match=f"the node is not the disk {disk}"),
    ):
        await claim.add(disk)
    os.close(exclusive(misleading))
