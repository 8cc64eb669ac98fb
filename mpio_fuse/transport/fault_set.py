"""The faults that are set, and which of them strikes a command.

They are by the underpath's name, so a device node that is opened again has the faults it had.  Everything here is
synchronous and given ``now_s`` (trio's clock).
"""

import random
from collections.abc import Collection, Iterator

import attrs
import trio

from mpio_fuse.errors import UsageError
from mpio_fuse.scsi.command import Command
from mpio_fuse.transport.fault_spec import FaultSpec

MAXIMUM_FAULTS = 1000


@attrs.define(eq=False)
class Fault:
    """One fault that is set.

    ``seen``: how many commands it was about; ``struck``: how many of them it struck.  Its chance is its own and
    seeded, so the same commands in the same order are struck again.
    """

    number: int
    spec: FaultSpec
    set_at_s: float
    seen: int = 0
    struck: int = 0
    is_lifted: bool = False
    _holding: set[trio.Event] = attrs.field(factory=set, repr=False)
    _chance: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.spec.seed)  # noqa: S311 - it is to be predictable

    @property
    def is_spent(self) -> bool:
        """Whether it has struck as often as it may."""
        return self.spec.count is not None and self.struck >= self.spec.count

    def state(self, now_s: float) -> str:
        """``waiting`` for its time, ``set``, ``spent``, or ``over``: its time has passed."""
        until_s = self.spec.until_s
        if until_s is not None and now_s - self.set_at_s >= until_s:
            return "over"
        if self.is_spent:
            return "spent"
        return "set" if self._is_time(now_s) else "waiting"

    @property
    def ends_at_s(self) -> float | None:
        """When it ends by itself."""
        return None if self.spec.until_s is None else self.set_at_s + self.spec.until_s

    def strikes(self, underpath: str, command: Command, now_s: float) -> bool:
        """Whether this command is struck; counts it."""
        if self.is_spent or not self._is_time(now_s) or not self.spec.is_about(underpath):
            return False
        if not self.spec.match.matches(command):
            return False
        self.seen += 1
        if self.seen <= self.spec.after or self._chance.random() >= self.spec.probability:
            return False
        self.struck += 1
        return True

    def hold(self, released: trio.Event) -> None:
        """Have the event set once the fault is lifted."""
        if self.is_lifted:
            released.set()
        self._holding.add(released)

    def forget(self, released: trio.Event) -> None:
        """The end of `hold`."""
        self._holding.discard(released)

    def lift(self) -> None:
        """It is over: nothing is struck by it any more, and what it holds is let go."""
        self.is_lifted = True
        for released in self._holding:
            released.set()

    def _is_time(self, now_s: float) -> bool:
        passed_s = now_s - self.set_at_s
        until_s = self.spec.until_s
        return self.spec.from_s <= passed_s and (until_s is None or passed_s < until_s)


class Faults:
    """All that are set, in the order in which they are asked: the first that strikes a command has it."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._last_number = 0

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults.values()))

    def __len__(self) -> int:
        return len(self._faults)

    def require_room(self, count: int) -> None:
        """See that so many more can be set.

        Raises:
            UsageError: they would be too many.
        """
        if len(self._faults) + count > MAXIMUM_FAULTS:
            what = f"more than {MAXIMUM_FAULTS} faults cannot be set"
            raise UsageError(what, hint=f"{len(self._faults)} are set now")

    def add(self, spec: FaultSpec, now_s: float) -> Fault:
        """Set one; its number is never given to another.

        Raises:
            UsageError: there are too many.
        """
        self.require_room(1)
        self._last_number += 1
        fault = Fault(self._last_number, spec, now_s)
        self._faults[fault.number] = fault
        return fault

    def clear(self, numbers: Collection[int] | None = None) -> list[Fault]:
        """Lift these, or (None) all; what was lifted is returned.

        Raises:
            UsageError: there is none of such a number; then nothing is lifted.
        """
        wanted = list(self._faults) if numbers is None else list(dict.fromkeys(numbers))
        for number in wanted:
            if number not in self._faults:
                raise UsageError(f"there is no fault {number}", hint="list them first")
        lifted = [self._faults.pop(number) for number in wanted]
        for fault in lifted:
            fault.lift()
        return lifted

    def strike(self, underpath: str, command: Command, now_s: float) -> Fault | None:
        """The fault that strikes this command, if any; asked once for each."""
        for fault in self._faults.values():
            if fault.strikes(underpath, command, now_s):
                return fault
        return None
