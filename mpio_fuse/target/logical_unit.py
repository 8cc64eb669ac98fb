"""A logical unit of a shared storage system, as a model: the other side of every command this project sends.

Theory of operation
-------------------
The model is a deterministic state machine: no clock, no chance, no I/O.  Whoever drives it decides what happens next,
and so a test can replay any interleaving of any number of hosts.

*A command has two moments.*  `LogicalUnitModel.arrive` is the first: unit attention and reservation are checked,
and what they refuse is answered at once.  `Task.perform` is the second: the command takes effect.  Between them a
command is in flight, and nothing that happens there checks it again.  That is how arrays behave, and why a preempted
host's write can still land: PREEMPT leaves it, PREEMPT AND ABORT and a reset abort it.  `execute` is both at once.

*Order of checks* (SPC-4 5.13.1): unit attention, then reservation, then the command itself.  SCST checks the
reservation first (`Quirks.conflict_before_attention`).

*What lasts.*  Registrations and the reservation survive resets and sessions, and a power loss only with APTPL.  A
RESERVE(6) survives nothing.  Written blocks survive a power loss once synchronised, or sent with FUA.

*Steps.*  Every arrival and every execution is one step; the medium's history and `log` tell both.
"""

import contextlib

from mpio_fuse.errors import DecodeError, UsageError
from mpio_fuse.scsi.command import Status
from mpio_fuse.scsi.opcodes import OpCode
from mpio_fuse.scsi.sense import SenseKey
from mpio_fuse.scsi.sense_codes import (
    ACCESS_STATE_CHANGED,
    CAPACITY_DATA_HAS_CHANGED,
    I_T_NEXUS_LOSS,
)
from mpio_fuse.scsi.target_port_groups import AccessState
from mpio_fuse.scsi.wire import Fields
from mpio_fuse.target.access import carries_no_data, command_key, conflicts
from mpio_fuse.target.dispatch import TRANSFERS, handler_of, parse
from mpio_fuse.target.identity import Identity
from mpio_fuse.target.medium import Medium
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.preempt import Preempted
from mpio_fuse.target.quirks import LIO, Abort, Quirks, Reset
from mpio_fuse.target.refusal import (
    INVALID_FIELD,
    RESERVATION_CONFLICT,
    Ending,
    Refusal,
    check_condition,
)
from mpio_fuse.target.registrations import Registrations, attention_port
from mpio_fuse.target.state import Request, State, new_state
from mpio_fuse.target.task import Answer, Interference, LogEntry, Progress, Task

POWER_ON = (0x29, 0x01)
REPORTS_NO_ATTENTION = frozenset({OpCode.INQUIRY, OpCode.REPORT_LUNS, OpCode.REQUEST_SENSE})
"""SAM-5 5.14: these are executed although a unit attention is pending."""

MEBIBYTE = 1 << 20
_TASK_ABORTED = Ending(Status.TASK_ABORTED)


class LogicalUnitModel:
    """One logical unit; see the module's docstring."""

    def __init__(
        self,
        quirks: Quirks = LIO,
        *,
        block_size_bytes: int = 512,
        blocks: int | None = None,
        serial: str = "5eed0001",
        has_volatile_cache: bool = True,
        identity: Identity | None = None,
    ) -> None:
        if blocks is None:
            blocks = 64 * MEBIBYTE // block_size_bytes
        medium = Medium(block_size_bytes, blocks, has_volatile_cache)
        self.state: State = new_state(
            quirks,
            identity or Identity(serial, has_target_port_groups=quirks.has_target_port_groups),
            medium,
        )
        self.tasks: list[Task] = []
        self.log: list[LogEntry] = []
        self.interferences: list[Interference] = []

    @property
    def quirks(self) -> Quirks:
        return self.state.quirks

    @property
    def medium(self) -> Medium:
        return self.state.medium

    @property
    def persistent(self) -> Registrations:
        """Registrations and reservation, to look at."""
        return self.state.persistent

    def execute(self, nexus: Nexus, cdb: bytes, data_out: bytes = b"") -> Answer:
        """One command from arrival to answer, with nothing in between."""
        answer = self.arrive(nexus, cdb, data_out).perform()
        if answer is None:
            raise AssertionError("nothing can abort a command that is never in flight")
        return answer

    def arrive(self, nexus: Nexus, cdb: bytes, data_out: bytes = b"") -> Task:
        """A command comes in and is checked; what is refused has ended when this returns."""
        self.attach(nexus)
        if not cdb:
            raise UsageError("a CDB has at least one byte")
        fields = Fields("CDB", cdb)
        task = Task(self.perform, Request(nexus, fields, bytes(data_out), self.state.next_step()))
        holder = self.persistent.holder
        task.held_by_key = None if holder is None else holder.key
        self.tasks.append(task)
        try:
            self._check(task.request)
        except Refusal as refusal:
            self._end(task, refusal.ending)
        return task

    def perform(self, task: Task) -> None:
        """The command takes effect; see `Task.perform`."""
        self.state.next_step()
        request = task.request
        try:
            data_in = handler_of(request.cdb.data)(self.state, request)
        except Refusal as refusal:
            self._end(task, refusal.ending)
        except DecodeError:
            self._end(task, INVALID_FIELD)
        else:
            self._end(task, Ending(Status.GOOD), data_in)
            if request.preempted is not None:
                self._abort_preempted(task, request.preempted)

    def attach(self, nexus: Nexus) -> None:
        """A session begins; without this the first command does it."""
        if nexus in self.persistent.nexuses:
            return
        self.persistent.nexuses.append(nexus)
        if self.quirks.new_nexus is not None:
            self._attend(nexus, self.quirks.new_nexus)

    def detach(self, nexus: Nexus) -> None:
        """A session ends: its commands die in silence, its RESERVE(6) goes, registrations stay (SAM-5 6.3.4)."""
        for task in self._in_flight():
            if task.request.nexus == nexus:
                self._abort(task, None)
        if self.state.scsi2.owner == nexus:
            self.state.scsi2.owner = None
        if nexus in self.persistent.nexuses:
            self.persistent.nexuses.remove(nexus)
        if self.quirks.basis.is_lost_with_session:
            self.state.attentions.forget(attention_port(nexus, self.quirks))

    def nexus_loss(self, nexus: Nexus) -> None:
        """The transport lost the nexus and has it again, with the same session: 29/07 (SAM-5 6.3.4)."""
        self.detach(nexus)
        self.persistent.nexuses.append(nexus)
        self._attend(nexus, I_T_NEXUS_LOSS)

    def lun_reset(self, issuer: Nexus | None = None) -> None:
        """LOGICAL UNIT RESET: every command over, RESERVE(6) gone, registrations kept, everybody told."""
        for task in self._in_flight():
            self._reset_task(task, issuer)
        self.state.scsi2.owner = None
        for nexus in self.persistent.nexuses:
            self._attend(nexus, self.quirks.was_reset)

    def power_loss(self, *, announced: bool = True) -> None:
        """Off and on again.  Not ``announced`` is what a target does that was killed and restarted."""
        for task in self._in_flight():
            self._abort(task, None)
        self.medium.lose_cache()
        self.state.scsi2.owner = None
        self.state.attentions.forget_all()
        if not self.persistent.is_aptpl_active:
            self.persistent.forget()
        self.persistent.generation = 0
        for nexus in self.persistent.nexuses if announced else ():
            self._attend(nexus, POWER_ON)

    def interfere(
        self,
        ending: Ending,
        *,
        count: int | None = 1,
        opcode: int | None = None,
        nexus: Nexus | None = None,
    ) -> Interference:
        """Let commands end another way; ``count`` None: until ``interferences`` no longer holds it."""
        interference = Interference(ending, count, opcode, nexus)
        self.interferences.append(interference)
        return interference

    def resize(self, blocks: int) -> None:
        """The logical unit grows or shrinks, and says so (SBC-3 4.8)."""
        self.medium.blocks = blocks
        for nexus in self.persistent.nexuses:
            self._attend(nexus, CAPACITY_DATA_HAS_CHANGED)

    def change_access(
        self, target_port: int, state: AccessState, *, is_preferred: bool = False
    ) -> None:
        """A target port goes into another state, and everybody is told (SPC-4 5.15.2.6)."""
        self.state.port_groups.put(target_port, state, is_preferred=is_preferred)
        for nexus in self.persistent.nexuses:
            self._attend(nexus, ACCESS_STATE_CHANGED)

    def pending_attentions(self, nexus: Nexus) -> tuple[tuple[int, int], ...]:
        """The unit attentions that wait for this nexus, without reporting them."""
        return self.state.attentions.pending(attention_port(nexus, self.quirks))

    def in_flight(self, nexus: Nexus) -> list[Task]:
        """The commands of that nexus that arrived and did not end."""
        return [task for task in self._in_flight() if task.request.nexus == nexus]

    def _in_flight(self) -> list[Task]:
        return [task for task in self.tasks if task.is_in_flight]

    def _attend(self, nexus: Nexus, code: tuple[int, int]) -> None:
        self.state.attentions.establish(attention_port(nexus, self.quirks), code)

    def _check(self, request: Request) -> None:
        nexus, cdb = request.nexus, request.cdb.data
        for interference in self.interferences:
            if interference.strikes(nexus, cdb):
                raise Refusal(interference.ending)
        if self.quirks.parses_first:
            self._parse(request)
        checks = [self._check_attention, self._check_reservations]
        if self.quirks.conflict_before_attention:
            checks.reverse()
        for check in checks:
            check(nexus, cdb)
        self.state.port_groups.check(nexus.target_port, cdb[0])

    def _parse(self, request: Request) -> None:
        try:
            parse(self.state, request)
        except DecodeError:
            raise Refusal(INVALID_FIELD) from None

    def _check_attention(self, nexus: Nexus, cdb: bytes) -> None:
        if cdb[0] in REPORTS_NO_ATTENTION:
            return
        code = self.state.attentions.report(attention_port(nexus, self.quirks))
        if code is not None:
            raise Refusal(check_condition(SenseKey.UNIT_ATTENTION, code))

    def _check_reservations(self, nexus: Nexus, cdb: bytes) -> None:
        if self.state.scsi2.refuses(nexus, cdb):
            raise Refusal(RESERVATION_CONFLICT)
        where = self.persistent.situation_of(nexus)
        table = self.quirks.conflicts
        if carries_no_data(cdb) and command_key(cdb) in self.quirks.conflicts_without_data:
            table = self.quirks.conflicts_without_data
        if where is not None and conflicts(table, cdb, where):
            raise Refusal(RESERVATION_CONFLICT)

    def _abort_preempted(self, issuer: Task, preempted: Preempted) -> None:
        """PREEMPT AND ABORT, after the registrations went (5.13.11.2.6)."""
        waits = self.quirks.aborted_commands_land
        for task in self._in_flight():
            if task is not issuer and self._is_preempted(task, preempted):
                self._abort(task, self._told(task, issuer.request.nexus), waits=waits)

    def _is_preempted(self, task: Task, preempted: Preempted) -> bool:
        if self.quirks.aborts is Abort.HELD:
            return preempted.took_over and task.held_by_key == preempted.key
        nexus = task.request.nexus
        return any(self.persistent.is_same(one.nexus, nexus) for one in preempted.victims)

    def _told(self, task: Task, issuer: Nexus | None) -> Ending | None:
        """TAS is about commands aborted by *another* nexus (SPC-4 7.5.8); one's own just vanish."""
        is_told = self.quirks.answers_task_aborted and task.request.nexus != issuer
        return _TASK_ABORTED if is_told else None

    def _reset_task(self, task: Task, issuer: Nexus | None) -> None:
        match self.quirks.resets:
            case Reset.ABORTS:
                told = self._told(task, issuer)
                self._abort(task, told, waits=self.quirks.aborted_commands_land)
            case Reset.WAITS:
                task.perform()
            case Reset.LEAVES:
                pass

    def _abort(self, task: Task, ending: Ending | None, *, waits: bool = False) -> None:
        """``waits``: the backend finishes what it began, and only the initiator is told otherwise."""
        if waits and command_key(task.request.cdb.data) in TRANSFERS:
            self.state.next_step()
            with contextlib.suppress(Refusal, DecodeError):
                handler_of(task.request.cdb.data)(self.state, task.request)
        task.progress = Progress.ABORTED
        task.answer = None if ending is None else Answer(ending.status, ending.sense)
        self._record_end(task)

    def _end(self, task: Task, ending: Ending, data_in: bytes = b"") -> None:
        task.progress = Progress.ENDED
        task.answer = Answer(ending.status, ending.sense, data_in)
        self._record_end(task)

    def _record_end(self, task: Task) -> None:
        if task in self.tasks:
            self.tasks.remove(task)
        request = task.request
        entry = LogEntry(
            self.state.step, request.arrived, request.nexus, request.cdb.data, task.answer
        )
        self.log.append(entry)
        task.on_end()
