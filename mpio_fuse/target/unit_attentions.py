"""Unit attentions, queued for each nexus until a command of that nexus reports them (SAM-5 5.14)."""

from collections.abc import Hashable

import attrs

from mpio_fuse.scsi.sense_codes import Code

RESET_AND_RESERVATION = (0x29, 0x2A)
"""ASC of a reset, and of what became of reservations."""


@attrs.define(eq=False)
class UnitAttentions:
    """The queues.  ``one_report_clears_all``, ``repeats`` and ``by_priority`` are quirks (`Quirks`)."""

    one_report_clears_all: bool = False
    repeats: bool = False
    by_priority: bool = False
    _queues: dict[Hashable, list[Code]] = attrs.Factory(dict)

    def establish(self, port: Hashable, code: Code) -> None:
        """Queue it; one that waits already is not queued twice unless the array does that."""
        queue = self._queues.setdefault(port, [])
        if code in queue and not self.repeats:
            return
        is_first = self.by_priority and queue and (code[0], queue[0][0]) == RESET_AND_RESERVATION
        queue.insert(0 if is_first else len(queue), code)

    def report(self, port: Hashable) -> Code | None:
        """The next one of that nexus, which is thereby reported and gone; None when there is none."""
        queue = self._queues.get(port)
        if not queue:
            return None
        code = queue.pop(0)
        if self.one_report_clears_all:
            queue.clear()
        return code

    def pending(self, port: Hashable) -> tuple[Code, ...]:
        """What waits for that nexus, without reporting it."""
        return tuple(self._queues.get(port, ()))

    def forget(self, port: Hashable) -> None:
        """The nexus is gone, and its attentions with it."""
        self._queues.pop(port, None)

    def forget_all(self) -> None:
        """A power loss forgets what was not reported."""
        self._queues.clear()
