"""One request's way over the underpaths: what was tried, how often, and whether to go on.  Pure and synchronous.

Theory of operation
-------------------
A request sends one command at a time.  After each completion `Attempts.after` says what comes next: done, the same
again after a pause, another underpath, or an error.  An underpath that the request has given up is *closed* to it, and
`is_open_to` is what the selection is limited by.  When every underpath in service is closed, `none_left` either
opens some again, which were worth coming back to, or ends the request.

An underpath that went out of service and was admitted again since is another *incarnation*: whatever was wrong may be
mended, so it is open again, up to the reaction's count.

Every request ends: each step counts one case on one underpath up, the counts are finite, and the cases without a
count have a pause and end with the patience.
"""

from collections import Counter

import attrs

from mpio_fuse.device.reaction import Action, Case, Reaction, case_of
from mpio_fuse.errors import NoUsableUnderpath
from mpio_fuse.scsi.command import Completion

_NOBODY_ASKED = Reaction(Action.FAIL, error=NoUsableUnderpath)


@attrs.frozen
class Step:
    """What a request does next.

    ``action``: DONE; FAIL, with the reaction's error; AGAIN or ELSEWHERE, choose among what is open, after
    ``pause_s``.  ``reaction`` has what is to be noted and looked into besides, whatever the action.
    """

    action: Action
    reaction: Reaction
    pause_s: float = 0.0


@attrs.frozen
class _Closed:
    """Why an underpath is closed to the request: by what, and in which incarnation."""

    case: Case
    incarnation: int


class Attempts:
    """The attempts of one request.  Underpaths are known by their index."""

    def __init__(self, now_s: float, patience_s: float) -> None:
        """``patience_s``: for how long from now on the request may pause for what passes by itself."""
        self._began_s = now_s
        self._patience_s = patience_s
        self._counts: Counter[tuple[int, Case]] = Counter()
        self._pauses: Counter[Case] = Counter()
        self._closed: dict[int, _Closed] = {}
        self._last = _NOBODY_ASKED

    def is_open_to(self, underpath: int, incarnation: int) -> bool:
        """Whether the request may be sent there."""
        closed = self._closed.get(underpath)
        if closed is None:
            return True
        return closed.incarnation != incarnation and self._may_meet_again(underpath, closed.case)

    def after(self, underpath: int, incarnation: int, completion: Completion, now_s: float) -> Step:
        """What comes after that completion; ``incarnation`` is the underpath's when the command was sent."""
        case = case_of(completion)
        reaction = self._last = case.reaction
        if reaction.action in {Action.DONE, Action.FAIL}:
            return Step(reaction.action, reaction)
        self._counts[underpath, case] += 1
        if reaction.action is Action.AGAIN and self._may_try_again(underpath, case, now_s):
            return Step(Action.AGAIN, reaction, self._pause_s(case))
        self._closed[underpath] = _Closed(case, incarnation)
        return Step(Action.ELSEWHERE, reaction)

    def none_left(self, now_s: float) -> Step:
        """What comes when no underpath in service is open to the request.

        Not for a device without any underpath in service: whether that is waited for is not the request's affair.
        """
        passing = {
            underpath: closed.case
            for underpath, closed in self._closed.items()
            if closed.case.reaction.back_off is not None
            and self._may_try_again(underpath, closed.case, now_s)
        }
        if not passing:
            return Step(Action.FAIL, self._last)
        for underpath in passing:
            del self._closed[underpath]
        case = next(iter(passing.values()))
        return Step(Action.AGAIN, case.reaction, self._pause_s(case))

    def _may_try_again(self, underpath: int, case: Case, now_s: float) -> bool:
        """Whether neither count nor patience are used up."""
        reaction = case.reaction
        if reaction.back_off is not None:
            own_s = reaction.patience_s
            if now_s >= self._began_s + (self._patience_s if own_s is None else own_s):
                return False
        return reaction.max_count is None or self._counts[underpath, case] <= reaction.max_count

    def _may_meet_again(self, underpath: int, case: Case) -> bool:
        """Whether an underpath that came back may be tried: its next failure must still be within the count."""
        max_count = case.reaction.max_count
        return max_count is not None and self._counts[underpath, case] < max_count

    def _pause_s(self, case: Case) -> float:
        back_off = case.reaction.back_off
        if back_off is None:
            return 0.0
        self._pauses[case] += 1
        return back_off.pause_s(self._pauses[case] - 1)
