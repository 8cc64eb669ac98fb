"""Queue-length: the underpath with the fewest commands under way."""

from collections.abc import Sequence

from mpio_fuse.device.selection.candidate import C, next_in_turn


class QueueLength:
    """Of equals the next in turn: a load of one command at a time still uses them all."""

    def __init__(self) -> None:
        self._last_index = -1

    def choose(self, group: Sequence[C], length_bytes: int, now_s: float) -> C:  # noqa: ARG002 - a Policy
        """The shortest queue."""
        shortest = min(one.in_flight for one in group)
        chosen = next_in_turn([one for one in group if one.in_flight == shortest], self._last_index)
        self._last_index = chosen.index
        return chosen
