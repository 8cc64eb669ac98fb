"""Round-robin: each underpath of the group in turn, whatever it has to do."""

from collections.abc import Sequence

from mpio_fuse.device.selection.candidate import C, next_in_turn


class RoundRobin:
    """In order of index."""

    def __init__(self) -> None:
        self._last_index = -1

    def choose(self, group: Sequence[C], length_bytes: int, now_s: float) -> C:  # noqa: ARG002 - a Policy
        """The next one after the last."""
        chosen = next_in_turn(group, self._last_index)
        self._last_index = chosen.index
        return chosen
