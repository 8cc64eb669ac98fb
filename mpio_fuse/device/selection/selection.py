"""Choosing the underpath for a command: by service, then by priority group, then by policy.

1. An underpath in full service goes before one that is held down or marginal.
2. Of those, the priority group in use (`GroupInUse`): by ALUA, and with failover-only each underpath is a group of its
   own, in order of index, so that its failback is the same as that of groups.
3. Within the group the policy shares the load.

What one request has given up (`mpio_fuse.device.attempts`) limits its own choice, and never which group the device
uses: with manual failback one bad command would move all others for good.

Last resorts do not count for failback: a group that is only held down is not there yet, so going back to it waits for
the hold-down too.
"""

from collections.abc import Callable, Sequence

from mpio_fuse.device.condition.state import Service
from mpio_fuse.device.selection.access import preference
from mpio_fuse.device.selection.candidate import C, Candidate, Policy
from mpio_fuse.device.selection.group_in_use import GroupInUse, Preference
from mpio_fuse.device.selection.queue_length import QueueLength
from mpio_fuse.device.selection.round_robin import RoundRobin
from mpio_fuse.device.selection.rules import SelectionRules, SelectorName
from mpio_fuse.device.selection.service_time import ServiceTime

POLICIES: dict[SelectorName, type[Policy]] = {
    SelectorName.ROUND_ROBIN: RoundRobin,
    SelectorName.QUEUE_LENGTH: QueueLength,
    SelectorName.SERVICE_TIME: ServiceTime,
    SelectorName.FAILOVER_ONLY: RoundRobin,  # of one
}


class Selection:
    """One device's."""

    def __init__(self, rules: SelectionRules) -> None:
        self._is_failover_only = rules.selector is SelectorName.FAILOVER_ONLY
        self._policy = POLICIES[rules.selector]()
        self._group = GroupInUse(rules.failback)

    def go_back(self) -> None:
        """To the best group at the next choice: an administrator's failback."""
        self._group.go_back()

    def is_in_use(self, one: Candidate) -> bool:
        """Whether its priority group was the one in use at the last choice; before the first all are."""
        return self._group.in_use in {None, self._preference(one)}

    def choose(
        self,
        candidates: Sequence[C],
        length_bytes: int,
        now_s: float,
        is_open: Callable[[C], bool] | None = None,
    ) -> C | None:
        """The underpath for a command with that much data; None when none of them carries it.

        ``candidates`` are all that the device could use; ``is_open`` tells where this request may go, None: everywhere.
        """
        if len(candidates) == 1 and is_open is None:
            return self._only(candidates[0], now_s)
        groups = self._groups(candidates, Service.FULL, now_s)
        if len(groups) == 1 and is_open is None:
            self._group.choose(groups.keys(), now_s)
            (group,) = groups.values()
            return group[0] if len(group) == 1 else self._policy.choose(group, length_bytes, now_s)
        if groups:
            in_use = self._group.choose(groups.keys(), now_s)
            order = [in_use, *sorted(groups.keys() - {in_use})]
            chosen = self._first_open(groups, order, length_bytes, now_s, is_open)
            if chosen is not None:
                return chosen
        groups = self._groups(candidates, Service.LAST_RESORT, now_s)
        return self._first_open(groups, sorted(groups), length_bytes, now_s, is_open)

    def _only(self, one: C, now_s: float) -> C | None:
        """The choice where there is none: as the general way, and cheap."""
        group, service = self._preference(one), one.service(now_s)
        if group is None or service is Service.NONE:
            return None
        if service is Service.FULL:
            self._group.use(group)
        return one

    def _first_open(
        self,
        groups: dict[Preference, list[C]],
        order: Sequence[Preference],
        length_bytes: int,
        now_s: float,
        is_open: Callable[[C], bool] | None,
    ) -> C | None:
        """The policy's choice in the first group where anything is open."""
        for preferred in order:
            group = groups[preferred]
            if is_open is not None:
                group = [one for one in group if is_open(one)]
            if group:
                return self._policy.choose(group, length_bytes, now_s)
        return None

    def _groups(
        self, candidates: Sequence[C], service: Service, now_s: float
    ) -> dict[Preference, list[C]]:
        groups: dict[Preference, list[C]] = {}
        for one in candidates:
            group = self._preference(one)
            if group is not None and one.service(now_s) is service:
                groups.setdefault(group, []).append(one)
        return groups

    def _preference(self, one: Candidate) -> Preference | None:
        rank = preference(one.access)
        if rank is None:
            return None
        return (rank, one.index) if self._is_failover_only else (rank,)
