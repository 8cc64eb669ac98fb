"""One lab for a whole test run: booted when a test wants its fabric, reset between tests, replaced when broken."""

from tests.lab.errors import LabError
from tests.lab.fabric import Fabric
from tests.lab.lab import Lab
from tests.lab.launch import GuestSettings


class Pool:
    """Holds at most one lab.

    One is enough because the plugin sorts tests by fabric, and a guest takes a CPU and its memory for itself.
    """

    def __init__(self) -> None:
        self._lab: Lab | None = None

    def take(self, fabric: Fabric, settings: GuestSettings) -> Lab:
        """Give a lab with ``fabric`` in which nothing is left of an earlier test but the contents of the LUNs."""
        if self._lab is not None and self._is_reusable(self._lab, fabric, settings):
            return self._lab
        self.close()
        lab = Lab(fabric, settings)
        self._lab = lab.__enter__()
        return lab

    def close(self) -> None:
        """Stop the guest, if there is one."""
        lab, self._lab = self._lab, None
        if lab is not None:
            lab.guest.stop()

    @staticmethod
    def _is_reusable(lab: Lab, fabric: Fabric, settings: GuestSettings) -> bool:
        if (lab.fabric, lab.guest.settings) != (fabric, settings) or not lab.guest.alive:
            return False
        try:
            lab.reset()
        except LabError:
            # Whatever the last test did to it (it may have been its purpose), the next one gets a new guest.
            return False
        return True
