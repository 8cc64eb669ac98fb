"""Underpaths as selection sees them."""

import attrs
from hypothesis import strategies as st

from mpio_fuse.device.condition.state import Service
from mpio_fuse.device.selection.access import Access
from mpio_fuse.scsi.target_port_groups import AccessState


@attrs.frozen
class FakeCandidate:
    """What is given is what is found, at any time."""

    index: int
    access: Access | None = None
    in_flight: int = 0
    in_flight_bytes: int = 0
    speed: float | None = None
    served: Service = Service.FULL

    def service(self, now_s: float) -> Service:  # noqa: ARG002 - as a Candidate
        return self.served

    def bytes_per_s(self, now_s: float) -> float | None:  # noqa: ARG002 - as a Candidate
        return self.speed


OPTIMIZED = Access(AccessState.ACTIVE_OPTIMIZED)
NON_OPTIMIZED = Access(AccessState.ACTIVE_NON_OPTIMIZED)
STANDBY = Access(AccessState.STANDBY)

accesses = st.none() | st.builds(Access, st.sampled_from(AccessState), st.booleans())

some_candidates = st.lists(
    st.builds(
        FakeCandidate,
        index=st.integers(0, 7),
        access=accesses,
        in_flight=st.integers(0, 3),
        in_flight_bytes=st.integers(0, 1 << 22),
        speed=st.none() | st.floats(0, 1e10),
        served=st.sampled_from(Service),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.index,
)
