"""One site for all tests that leave it as it was."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.native.__main__ import SOON
from tests.native.site import Site, built


@pytest.fixture(scope="package")
def standing_site() -> Iterator[Site]:
    """Both hosts have mounted.  A socket's name has 107 bytes at most: pytest's own directories may be too deep."""
    with TemporaryDirectory(prefix="mpio-") as directory, built(Path(directory), SOON) as site:
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
