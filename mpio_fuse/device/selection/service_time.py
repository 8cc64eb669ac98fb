"""Service-time: the underpath that will have this command done first, by what it carried lately.

An underpath that was not measured lately is taken for as fast as the fastest: so it is tried, and measured.  Without
that one that was slow once would be slow for ever.
"""

from collections.abc import Sequence

from mpio_fuse.device.selection.candidate import C, next_in_turn

_SAME = 1.01
"""Times that differ by less are equal: measured throughput is never the same twice."""


class ServiceTime:
    """Estimated by (data under way + this command's) / throughput; of equals the next in turn."""

    def __init__(self) -> None:
        self._last_index = -1

    def choose(self, group: Sequence[C], length_bytes: int, now_s: float) -> C:
        """The one that is done first."""
        speeds = [one.bytes_per_s(now_s) for one in group]
        fastest = max((max(speed, 1.0) for speed in speeds if speed is not None), default=1.0)
        times_s = [
            (one.in_flight_bytes + length_bytes) / (fastest if speed is None else max(speed, 1.0))
            for one, speed in zip(group, speeds, strict=True)
        ]
        limit_s = min(times_s) * _SAME
        quickest = [one for one, time_s in zip(group, times_s, strict=True) if time_s <= limit_s]
        chosen = next_in_turn(quickest, self._last_index)
        self._last_index = chosen.index
        return chosen
