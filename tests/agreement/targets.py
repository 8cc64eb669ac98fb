"""The targets of the lab: what each is asked, and whose quirks the model takes for it."""

import attrs

from mpio_fuse.target.quirks import LIO, TGT, Quirks
from tests.agreement.generator import Menu
from tests.lab.fabric import FabricKind


@attrs.frozen
class Target:
    """One kind of fabric as the comparison sees it."""

    quirks: Quirks
    menu: Menu


EVERYTHING = Menu(has_preempt_and_abort=True, has_ports=True, has_register_and_move=True)

# PREEMPT AND ABORT deadlocks tcm_loop, and each of its initiators has one port.
ON_LOOP = Menu(has_preempt_and_abort=False, has_ports=False, has_register_and_move=False)

# tgt 1.0.85 refuses REGISTER AND MOVE to those that are not registered, and dies of it when it comes from a registrant.
ON_TGT = attrs.evolve(EVERYTHING, has_register_and_move=False)

TARGETS = {
    FabricKind.LOOP: Target(LIO, ON_LOOP),
    FabricKind.ISCSI: Target(LIO, attrs.evolve(EVERYTHING, has_ports=False)),
    FabricKind.TGT: Target(TGT, ON_TGT),
}
