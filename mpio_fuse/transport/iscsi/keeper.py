"""Finds out within seconds that a session is dead, and ends commands that take too long.

Theory of operation
-------------------
*A cut cable.*  TCP alone would wait for minutes.  While anything is in flight the keeper looks every `TICK_S`: when
nothing has come in for ``ping_after_s`` it sends a NOP-Out, so that something is due, and when the other end's *kernel*
has acknowledged nothing for ``link_timeout_s`` although it should have, the cable is cut.  A target that is merely slow
or stopped is not mistaken for that: its kernel acknowledges all the same.  It has ``ping_timeout_s`` to answer the NOP.
An idle session is pinged every `IDLE_S`, so that a command does not have to find the cut.

*A command that is overdue* is aborted (ABORT TASK); confirmed, it ends with TIME_OUT.  Not confirmed within
`ABORT_TIMEOUT_S`, or never even sent because the target's command window stayed closed, the session is given up: a new
login is the one thing that surely ends it at the target (RFC 7143 6.3.5).  The same goes for a reset without an answer.

Nothing of this costs a command anything: an idle keeper is only woken by the first of them.
"""

import trio

from mpio_fuse.transport.iscsi.session import Session
from mpio_fuse.transport.iscsi.settings import IscsiSettings

TICK_S = 0.1
IDLE_S = 5.0
ABORT_TIMEOUT_S = 2.0


class Keeper:
    """Looks after one session."""

    def __init__(self, session: Session, settings: IscsiSettings) -> None:
        self._session = session
        self._settings = settings
        self._dozing: trio.CancelScope | None = None
        self._owed_since_s: float | None = None
        self._pinged_s = 0.0
        self._sent = 0
        session.wake_keeper = self._wake

    async def run(self) -> None:
        """Until cancelled, or the session has ended."""
        while not self._session.has_ended:
            await self._pause()
            if not self._session.has_ended:
                self._look(trio.current_time())

    def _wake(self) -> None:
        if self._dozing is not None:
            self._dozing.cancel()
            self._dozing = None

    @property
    def _is_busy(self) -> bool:
        session = self._session
        return bool(session.in_flight or session.is_reset_out or session.native.pings_out)

    async def _pause(self) -> None:
        was_used = self._sent != self._session.sent
        self._sent = self._session.sent
        if self._is_busy or was_used:
            await trio.sleep(TICK_S)
            return
        with trio.move_on_after(IDLE_S) as self._dozing:
            await trio.sleep_forever()
        self._dozing = None

    def _look(self, now_s: float) -> None:
        for check in (self._check_link, self._check_target, self._check_due):
            why = check(now_s)
            if why is not None:
                self._session.lose(why)
            if self._session.has_ended:
                return

    def _check_link(self, now_s: float) -> str | None:
        """Whether acknowledgements are due, and since when."""
        since_last_s = self._session.native.unacknowledged_s
        if not since_last_s:
            self._owed_since_s = None
            return None
        if self._owed_since_s is None:
            self._owed_since_s = now_s
        self._owed_since_s = max(self._owed_since_s, now_s - since_last_s)
        if now_s - self._owed_since_s < self._settings.link_timeout_s:
            return None
        return f"nothing acknowledged for {self._settings.link_timeout_s:g} s: the link is cut"

    def _check_target(self, now_s: float) -> str | None:
        """Whether the target answers; asks it when it has been silent."""
        native = self._session.native
        if not native.pings_out:
            if native.silent_s >= (self._settings.ping_after_s if self._is_busy else IDLE_S):
                self._pinged_s = now_s
                self._session.ping()
            return None
        if min(now_s - self._pinged_s, native.silent_s) < self._settings.ping_timeout_s:
            return None
        return f"no answer to a NOP for {self._settings.ping_timeout_s:g} s"

    def _check_due(self, now_s: float) -> str | None:
        session = self._session
        if session.is_reset_out and now_s > session.reset_due_s:
            return "no answer to a LOGICAL UNIT RESET"
        overdue = [slot for slot, entry in session.in_flight.items() if now_s > entry.due_s]
        for slot in overdue:
            entry = session.in_flight.get(slot)
            if entry is None:
                continue
            if entry.is_aborting:
                return "no answer to an ABORT TASK"
            entry.is_aborting = True
            entry.due_s = now_s + ABORT_TIMEOUT_S
            if not session.abort(slot):
                return "a command could not be sent in time"
        return None
