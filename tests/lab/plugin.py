"""The lab for pytest: the ``lab`` fixture outside, and tests marked ``in_guest`` inside.

``@pytest.mark.fabric(kind="iscsi", hosts=2, underpaths=2, luns=1)`` names the fabric a test wants (other arguments:
those of `Fabric.of`, and ``memory_bytes``).  A test that takes the fixture ``lab`` runs on this machine and sends
commands into the guest.  A test marked ``in_guest`` runs as a whole in a pytest in the guest, see `guest_items`.
Lab tests are sorted by fabric, to the end of the run, so that a guest boots once for each.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import guest_items, inside
from tests.lab.fabric import Fabric, FabricReport
from tests.lab.lab import Lab
from tests.lab.launch import GuestSettings
from tests.lab.pool import Pool

Wanted = tuple[Fabric, GuestSettings]

POOL = pytest.StashKey[Pool]()
USED_LAB = pytest.StashKey[Lab]()


def wanted(item: pytest.Item) -> Wanted:
    """Give the fabric that ``item``'s closest fabric marker names, or the default one."""
    mark = item.get_closest_marker("fabric")
    arguments: dict[str, Any] = dict(mark.kwargs) if mark else {}
    memory_bytes = arguments.pop("memory_bytes", GuestSettings().memory_bytes)
    return Fabric.of(**arguments), GuestSettings(memory_bytes=memory_bytes)


def pytest_configure(config: pytest.Config) -> None:
    if inside.is_inside():
        config.pluginmanager.register(inside.Inside(), "lab-inside")
        return
    pool = config.stash[POOL] = Pool()
    config.add_cleanup(pool.close)


def _is_lab_test(item: pytest.Item) -> bool:
    return item.get_closest_marker("in_guest") is not None or "lab" in getattr(
        item, "fixturenames", ()
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    # Here already, so that -m "not lab" sees it.
    if _is_lab_test(item):
        item.add_marker("lab")


@pytest.hookimpl(trylast=True)  # after what selects and orders tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if inside.is_inside():
        return
    plain = [item for item in items if not _is_lab_test(item)]
    groups: dict[Wanted, list[pytest.Item]] = {}
    for item in items:
        if _is_lab_test(item):
            groups.setdefault(wanted(item), []).append(item)
    items[:] = plain
    for want, group in groups.items():
        items += guest_items.replace(group, *want, config.stash[POOL])


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab with the fabric the test's marker names, as good as new."""
    item: pytest.Item = request.node
    if inside.is_inside():
        pytest.fail(
            "the fixture lab is for tests outside the guest; in_guest tests take lab_fabric",
            pytrace=False,
        )
    lab = item.config.stash[POOL].take(*wanted(item))
    item.stash[USED_LAB] = lab
    yield lab
    for job in lab.running_jobs():
        job.kill()


@pytest.fixture
def lab_fabric() -> FabricReport:
    """The fabric's report, for a test that runs in the guest."""
    return FabricReport.from_json(Path(os.environ["LAB_FABRIC"]).read_text())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    lab = item.stash.get(USED_LAB, None)
    if report.failed and lab is not None:
        report.sections.append(("Lab", lab.guest.console_tail()))
    return report
