"""One tgtd for all tests of a session that do not disturb it."""

from collections.abc import Iterator

import pytest

from tests.transport.tgtd import Tgtd, running_tgtd


@pytest.fixture(scope="session")
def tgtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tgtd]:
    """Its target has disks 1 and 2; disk 1 is the conformance suite's."""
    with running_tgtd(tmp_path_factory.mktemp("tgtd")) as tgtd:
        for lun in (1, 2):
            tgtd.add_disk(lun)
        yield tgtd
