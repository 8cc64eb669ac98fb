"""The figures as they can be walked: each procedure in each of the cases its figure tells apart."""

from collections.abc import Callable
from types import ModuleType

import attrs

from mpio_fuse.reserve import (
    fig05_register,
    fig06_unregister,
    fig08_forced_open,
    fig09_retain_reservation,
    fig10_no_reserve,
    fig11_default_reserve,
    fig12_release,
)
from mpio_fuse.reserve.procedure import Procedure


@attrs.frozen
class Chart:
    """One case of one figure.

    ``table`` is its table of edges in figures.toml, ``arguments`` what its procedure is called with then, and
    ``when`` the same in words.
    """

    module: ModuleType
    function: str
    table: str = "edges"
    arguments: dict[str, bool] = attrs.Factory(dict)
    when: str = ""

    def __str__(self) -> str:
        return f"{self.figure}: {self.when}" if self.when else self.figure

    @property
    def figure(self) -> str:
        """The figure's name in figures.toml, which is its module's."""
        return self.module.__name__.rpartition(".")[2]

    @property
    def procedure(self) -> Callable[[], Procedure]:
        return self.procedure_of(self.module)

    def procedure_of(self, module: ModuleType) -> Callable[[], Procedure]:
        """The procedure as another version of the module has it."""
        function = getattr(module, self.function)
        return lambda: function(**self.arguments)


CHARTS = (
    Chart(fig05_register, "register"),
    Chart(
        fig06_unregister,
        "unregister",
        "when_reserved",
        {"reserved": True},
        "the last close left the reservation (620, 622, 624, 626)",
    ),
    Chart(
        fig06_unregister,
        "unregister",
        "when_not_reserved",
        {"reserved": False},
        "no reservation is left (620)",
    ),
    Chart(fig08_forced_open, "forced_open"),
    Chart(fig09_retain_reservation, "retain_reservation"),
    Chart(fig10_no_reserve, "no_reserve"),
    Chart(fig11_default_reserve, "default_reserve"),
    Chart(
        fig12_release,
        "release",
        "when_reserved",
        {"reserved": True, "retain": False},
        "this host holds the reservation",
    ),
    Chart(
        fig12_release,
        "release",
        "when_retained_or_not_reserved",
        {"reserved": True, "retain": True},
        "the reservation is to be retained",
    ),
    Chart(
        fig12_release,
        "release",
        "when_retained_or_not_reserved",
        {"reserved": False, "retain": False},
        "this host holds nothing",
    ),
)
