"""Who made a request, and whether they may force a LUN open."""

from pathlib import Path

import attrs


@attrs.frozen
class Caller:
    """The process behind a request; ``pid`` is 0 when it lives in a PID namespace we do not see."""

    uid: int
    gid: int
    pid: int


def supplementary_groups(pid: int) -> frozenset[int]:
    """A process's supplementary groups; none for one that is gone or not visible."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in status.splitlines():
        if line.startswith("Groups:"):
            return frozenset(int(group) for group in line.split()[1:])
    return frozenset()


def may_force(caller: Caller, group: int | None) -> bool:
    """Whether a caller may take a LUN from another host: root, or a member of the configured group."""
    if caller.uid == 0:
        return True
    if group is None:
        return False
    return caller.gid == group or group in supplementary_groups(caller.pid)
