"""Figure 7: which options run which figure."""

import pytest

from mpio_fuse.errors import UsageError
from mpio_fuse.reserve.fig07_decision import OpenOption, decide
from mpio_fuse.reserve.fig08_forced_open import forced_open
from mpio_fuse.reserve.fig09_retain_reservation import retain_reservation
from mpio_fuse.reserve.fig10_no_reserve import no_reserve
from mpio_fuse.reserve.fig11_default_reserve import default_reserve
from mpio_fuse.reserve.procedure import Procedure

NO_RESERVE = OpenOption.NO_RESERVE
RETAIN = OpenOption.RETAIN_RESERVATION
SINGLE = OpenOption.SINGLE
FORCED = OpenOption.FORCED_OPEN


@pytest.mark.parametrize(
    ("options", "figure"),
    [
        (OpenOption.DEFAULT, default_reserve),
        (SINGLE, default_reserve),
        (NO_RESERVE, no_reserve),
        (RETAIN, retain_reservation),
        (RETAIN | SINGLE, retain_reservation),
        (FORCED, forced_open),
        (FORCED | RETAIN, forced_open),
        (FORCED | SINGLE, forced_open),
        (FORCED | RETAIN | SINGLE, forced_open),
    ],
)
def test_options_choose_the_figure(options: OpenOption, figure: type[Procedure]) -> None:
    assert decide(options) is figure


@pytest.mark.parametrize("other", [RETAIN, SINGLE, FORCED, RETAIN | SINGLE | FORCED])
def test_no_reserve_goes_with_no_other_option(other: OpenOption) -> None:
    with pytest.raises(UsageError, match="NO_RESERVE goes with no other"):
        decide(NO_RESERVE | other)


def test_options_print_as_the_documentation_spells_them() -> None:
    assert str(OpenOption.DEFAULT) == "DEFAULT"
    assert str(RETAIN | FORCED) == "RETAIN_RESERVATION+FORCED_OPEN"
