"""Asks underpaths whether they are there, and has those let in again that are.

Theory of operation
-------------------
One task goes from event to event (`UnderpathHealth.next_event_s`) and starts each check that is due as a task of its
own, so that one which hangs holds up no other.  There is never more than one check of an underpath at a time.

An emergency (`check_all`) is the same checks, all at once, run by whoever cannot go on without; it is bounded, and what
is under way already is waited for.

What a completion said that must be found out, but keeps no data waiting (`Look`), is done by a task beside.
"""

import math
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from mpio_fuse.device.condition.check import Check, check_of
from mpio_fuse.device.control import OnAttention, issue
from mpio_fuse.device.reaction import Look
from mpio_fuse.device.underpath import Underpath, UnderpathState
from mpio_fuse.device.underpath_rules import CheckerName, UnderpathRules
from mpio_fuse.errors import MpioError
from mpio_fuse.scsi import block
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.unit_ready import test_unit_ready
from mpio_fuse.scsi.verdict import describe

log = structlog.get_logger(__name__)

LET_IN_S = 2.0
"""How long an emergency waits, after the checks, for what answered to be registered."""


class Checks:
    """One device's.

    Args:
        timeout_s: for one check's command.
        block_size_bytes: of the logical unit, 0 while it is not known.
        readmit: lets an underpath in again that answers, if it may be; whether it carries data now.
        looks: what to do for each thing that is to be found out.
    """

    def __init__(
        self,
        lun: str,
        underpaths: Sequence[Underpath],
        rules: UnderpathRules,
        timeout_s: float,
        on_attention: OnAttention,
        block_size_bytes: Callable[[], int],
        readmit: Callable[[Underpath], Awaitable[bool]],
        looks: dict[Look, Callable[[], Awaitable[None]]],
    ) -> None:
        self._underpaths = underpaths
        self._rules = rules
        self._timeout_s = timeout_s
        self._on_attention = on_attention
        self._block_size_bytes = block_size_bytes
        self._readmit = readmit
        self._looks = looks
        self._wanted: set[Look] = set()
        self._under_way: dict[Underpath, trio.Event] = {}
        self._bell = trio.Event()
        self._is_wanted = trio.Event()
        self._log = log.bind(lun=lun)

    def ring(self) -> None:
        """A time or a wish has changed."""
        self._bell.set()

    def want(self, look: Look) -> None:
        """Have something found out soon, once for however many ask."""
        if look in self._looks:
            self._wanted.add(look)
            self._is_wanted.set()

    async def keep(self) -> None:
        """Check for ever; to be cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_looking)
            while True:
                self._bell = trio.Event()
                self._start_what_is_due(nursery)
                with trio.move_on_at(self._next_event_s()):
                    await self._bell.wait()

    async def check_all(self) -> None:
        """Check every underpath now, all at once; those that hang are given up after the timeout."""
        with trio.move_on_after(emergency_s(self._timeout_s)):
            async with trio.open_nursery() as nursery:
                for underpath in self._underpaths:
                    if _is_checked(underpath):
                        nursery.start_soon(self._check, underpath)

    async def check_one(self, underpath: Underpath) -> None:
        """Check it now, and have it let in again when it answers; bounded as `check_all`."""
        with trio.move_on_after(emergency_s(self._timeout_s)):
            await self._check(underpath)

    async def check_doubtful(self, since_s: float) -> None:
        """Check those in service of which nothing was heard since then; nothing is let in again.

        Whoever waited in vain for one underpath should not go on to wait for the next that hangs.
        """
        with trio.move_on_after(emergency_s(self._timeout_s)):
            async with trio.open_nursery() as nursery:
                for underpath in self._underpaths:
                    if underpath.is_in_service and not underpath.health.has_passed_io(since_s):
                        nursery.start_soon(self._check, underpath, False)  # noqa: FBT003 - start_soon's

    # -- below

    def _start_what_is_due(self, nursery: trio.Nursery) -> None:
        now_s = trio.current_time()
        for underpath in self._underpaths:
            underpath.note(underpath.health.advance(now_s))
            is_due = underpath.health.next_check_s <= now_s
            if is_due and underpath not in self._under_way:
                nursery.start_soon(self._check, underpath)

    def _next_event_s(self) -> float:
        idle = (one for one in self._underpaths if one not in self._under_way)
        return min((one.health.next_event_s for one in idle), default=math.inf)

    async def _check(self, underpath: Underpath, lets_in: bool = True) -> None:  # noqa: FBT001, FBT002 - start_soon's
        """Check it, or wait for the check that is under way."""
        if (ended := self._under_way.get(underpath)) is not None:
            await ended.wait()
            return
        ended = self._under_way[underpath] = trio.Event()
        try:
            await self._check_now(underpath, lets_in=lets_in)
        finally:
            del self._under_way[underpath]
            ended.set()
            self.ring()

    async def _check_now(self, underpath: Underpath, *, lets_in: bool) -> None:
        health, started_s = underpath.health, trio.current_time()
        if not underpath.is_in_service and not underpath.is_idle:
            # What was sent before is still under way: it proves nothing to ask again.
            health.check_ended(Check.UNCLEAR, started_s, started_s)
            return
        command, outcome, said = self._command(), Check.UNCLEAR, "cut short"
        try:
            completion = await issue(underpath, command, self._timeout_s, self._on_attention)
            outcome = self._outcome(underpath, check_of(completion))
            said = f"{command.name}: {describe(completion)}"
        finally:
            self._note(underpath, outcome, started_s, said)
        if outcome is Check.PASSED and lets_in and _is_kept_out(underpath):
            await self._let_in(underpath)

    def _note(self, underpath: Underpath, outcome: Check, started_s: float, said: str) -> None:
        before = underpath.state
        change = underpath.health.check_ended(outcome, started_s, trio.current_time(), said)
        if outcome is Check.FAILED and underpath.state is UnderpathState.DOWN:
            underpath.last_failure = said
            underpath.counters.failures += before is not UnderpathState.DOWN
        underpath.note(change)

    def _outcome(self, underpath: Underpath, outcome: Check) -> Check:
        """A port that serves no data may answer TEST UNIT READY all the same; whether it still does not, is asked."""
        if underpath.state is UnderpathState.GHOST or not underpath.may_carry:
            self.want(Look.PORT_GROUPS)
        if outcome is Check.PASSED and not underpath.may_carry:
            return Check.STANDBY
        return outcome

    def _command(self) -> Command:
        size_bytes = self._block_size_bytes()
        if self._rules.checker is CheckerName.READ and size_bytes:
            return block.read(0, bytearray(size_bytes), size_bytes, timeout_s=self._timeout_s)
        return test_unit_ready()

    async def _let_in(self, underpath: Underpath) -> None:
        try:
            await self._readmit(underpath)
        except MpioError as error:
            self._log.info("not readmitted", underpath=underpath.name, cause=str(error))

    async def _keep_looking(self) -> None:
        while True:
            while self._wanted:
                await self._find_out(self._wanted.pop())
            self._is_wanted = trio.Event()
            await self._is_wanted.wait()

    async def _find_out(self, look: Look) -> None:
        try:
            await self._looks[look]()
        except MpioError as error:
            self._log.info("not found out", look=look.name.lower(), cause=str(error))


def emergency_s(timeout_s: float) -> float:
    """The longest that a check of all takes, where ``timeout_s`` is that of one command."""
    return timeout_s + LET_IN_S


def _is_kept_out(underpath: Underpath) -> bool:
    """Whether it could carry data and does not.  In service and not idle, it is the data path's to look into."""
    if underpath.is_in_service:
        return not underpath.is_usable and underpath.is_idle
    return underpath.health.awaits_admission


def _is_checked(underpath: Underpath) -> bool:
    return underpath.state is not UnderpathState.REMOVED and not underpath.health.is_held_out
