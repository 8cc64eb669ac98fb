"""Cables pulled and plugged under fio and a probe that verify: no error and no wrong byte while one cable is there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest

from tests.native.__main__ import SOON
from tests.native.host import Host
from tests.native.site import Site, built
from tests.reliability.figures import wrong_at_the_end
from tests.reliability.layout import BLOCK_BYTES, STANDING, WRITTEN
from tests.reliability.load import FioReport, Load

NO_PATH_S = 1.5


@attrs.define
class Noted:
    """What the load saw, once it has ended."""

    errors: set[str] = attrs.Factory(set)
    wrong: list[str] = attrs.Factory(list)
    fio: FioReport | None = None


@contextmanager
def load_on(site: Site, directory: Path) -> Iterator[Noted]:
    """Load on host a; at the end what was read, and what is in the backing file, is compared."""
    noted = Noted()
    load = Load(str(site.a.lun), fio_output=directory / "fio.json")
    try:
        yield noted
        said, noted.fio = load.finish()
    finally:
        load.kill()
    site.a.wait_until(lambda lun: not lun["opens"], "its close")
    noted.errors = {error for who in ("writer", "reader") for *_, error in said[who] if error}
    noted.wrong = said["wrong"] + wrong_at_the_end(said, medium(site))


def medium(site: Site) -> dict[str, list[bytes]]:
    return {
        region.name: [site.medium(offset_bytes, BLOCK_BYTES) for offset_bytes in region.offsets()]
        for region in (WRITTEN, STANDING)
    }


def carried(host: Host, url: str) -> int:
    return int(host.underpaths()[url]["writes"])


def wait_until_carried(host: Host, url: str) -> None:
    """Wait until an underpath has carried writes that it had not before."""
    before = carried(host, url)
    host.wait_until(lambda lun: of(lun, url)["writes"] > before, f"writes over {url}")


def of(lun: dict[str, Any], url: str) -> dict[str, Any]:
    [found] = [one for one in lun["underpaths"] if one["device"] == url]
    return dict(found)


def state_is(url: str, *states: str) -> Callable[[dict[str, Any]], bool]:
    return lambda lun: of(lun, url)["state"] in states


@pytest.fixture
def own_site() -> Iterator[Site]:
    """A site of the test's own, with a short patience."""
    settings = f"{SOON}\nno_path_timeout = {NO_PATH_S}"
    with (
        TemporaryDirectory(prefix="mpio-") as directory,
        built(Path(directory), settings, keys={"a": 0xA2, "b": 0xB2}) as site,
    ):
        site.mount("a")
        yield site
        site.a.unmount()


def test_a_pulled_cable_is_noticed_by_nobody_and_used_again_when_it_is_back(
    site: Site, tmp_path: Path
) -> None:
    first, second = site.urls("a")
    with load_on(site, tmp_path) as noted:
        for url in (first, second):
            wait_until_carried(site.a, url)
        site.cables["a"][0].pull()
        site.a.wait_until(state_is(first, "down"), "the loss of the first")
        wait_until_carried(site.a, second)
        site.cables["a"][0].plug()
        wait_until_carried(site.a, first)
    assert (noted.errors, noted.wrong) == (set(), [])
    assert noted.fio is not None
    assert (noted.fio.error, noted.fio.found_wrong_bytes) == (0, False)


def test_io_waits_for_a_cable_and_goes_on_over_whichever_is_back_first(
    site: Site, tmp_path: Path
) -> None:
    first, second = site.urls("a")
    with load_on(site, tmp_path) as noted:
        wait_until_carried(site.a, first)
        for cable in site.cables["a"]:
            cable.pull()
        for url in (first, second):
            site.a.wait_until(state_is(url, "down"), "the loss of both")
        site.cables["a"][1].plug()
        wait_until_carried(site.a, second)
        site.cables["a"][0].plug()
        wait_until_carried(site.a, first)
    assert (noted.errors, noted.wrong) == (set(), [])
    assert noted.fio is not None
    assert (noted.fio.error, noted.fio.found_wrong_bytes) == (0, False)


@pytest.mark.hazard(22)
def test_without_a_cable_io_fails_after_the_no_path_timeout_and_works_again_later(
    own_site: Site, tmp_path: Path
) -> None:
    first, _ = own_site.urls("a")
    with load_on(own_site, tmp_path) as noted:
        wait_until_carried(own_site.a, first)
        for cable in own_site.cables["a"]:
            cable.pull()
        own_site.a.wait_until(lambda _: "errno=EIO" in own_site.a.log(), "requests to fail")
        for cable in own_site.cables["a"]:
            cable.plug()
        wait_until_carried(own_site.a, first)
    assert noted.wrong == []
    assert noted.errors <= {"EIO"}  # of whichever program was the first to be told, the log has it
