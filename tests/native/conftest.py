"""One site for all tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.native.__main__ import SOON
from tests.native.site import Site, built


@pytest.fixture(scope="package")
def standing_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both hosts have mounted."""
    with built(tmp_path_factory.mktemp("native"), SOON) as site:
        site.mount("a", "b")
        yield site
        for host in site.hosts.values():
            host.unmount()


@pytest.fixture
def site(standing_site: Site) -> Iterator[Site]:
    """Nobody has the LUN open, before and after."""
    yield standing_site
    for host in standing_site.hosts.values():
        host.wait_until(lambda lun: not lun["opens"], "all closed")
