"""The measurement of many LUNs measures what it says; the figures are docs/reliability.md's."""

import pytest
from trio.testing import MockClock

from tests.scale import measure, told


@pytest.mark.virtual_clock
async def test_every_lun_is_found_registered_and_watched(autojump_clock: MockClock) -> None:
    figures = await measure(luns=5, underpaths=4, minutes=1)
    assert (figures.luns, figures.underpaths) == (5, 20)
    assert figures.discovery_cpu_s > 0
    assert figures.registration_cpu_s > 0
    assert figures.checks_cpu > 0
    assert "LUNs, underpaths   5, 20" in told(figures)
