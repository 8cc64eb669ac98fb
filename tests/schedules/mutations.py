"""Switches off, in this process, one of the things that the device does for the invariants' sake.

Each is patched at one place, by name: when it is not there any more, that is an error and not a schedule that passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from mpio_fuse.device.grant import Grant
from mpio_fuse.device.recovery import DeviceRecovery
from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.device.underpath import Underpath
from mpio_fuse.errors import Fenced


@attrs.frozen
class Mutation:
    """``owner.name`` becomes ``instead``; ``breaks`` are the invariants that are to notice."""

    owner: type
    name: str
    instead: Callable[..., object]
    breaks: frozenset[int]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """With it, until the end of the block."""
        original = self.owner.__dict__[self.name]
        setattr(self.owner, self.name, self.instead)
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)


async def _no_barrier(self: DeviceRecovery, _grant: Grant) -> None:
    """A lost write is forgotten, and its repetition sent without asking whether it is dead."""
    for underpath in self._underpaths:
        underpath.has_lost_write = False


async def _registers_unchecked(
    self: DeviceRecovery, _grant: Grant, underpath: Underpath, **_options: bool
) -> bool:
    """A returning underpath is registered without a look at the state, before or after."""
    return await self._registrar.register(underpath, ignore_existing=True)


def _forgets_the_fence(self: Grant) -> None:
    """Who was fenced is told so once."""
    if self.is_fenced:
        self.is_fenced = False
        raise Fenced("another host took this disk over", lun=self.lun)


async def _leaves_it_to_the_dead(_self: Registrar, state: ReserveState) -> ReserveState:
    """A reservation that a dead underpath holds is not moved to a live one."""
    return state


MUTATIONS: dict[str, Mutation] = {
    "barrier": Mutation(DeviceRecovery, "bar", _no_barrier, frozenset((1, 2))),
    "recheck-before-register": Mutation(
        DeviceRecovery, "admit", _registers_unchecked, frozenset((2,))
    ),
    "sticky-fence": Mutation(Grant, "check", _forgets_the_fence, frozenset((2, 5))),
    "holder-transfer": Mutation(
        Registrar, "_release_from_the_dead", _leaves_it_to_the_dead, frozenset((4, 8))
    ),
}
"""What can be switched off, by the name that ``--switch-off`` takes."""
