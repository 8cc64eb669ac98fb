"""A transport to a simulated logical unit, on trio's clock: every fault and every interleaving, in no time.

Theory of operation
-------------------
Each command becomes a `_Carriage`, which waits in a queue until one of ``max_in_flight`` slots is free, in order of
arrival.  Where the link neither delays nor strikes it, it takes effect at once; else a system task of its own carries
it, because it must go on when its caller is cancelled.  A carriage is *given back* once: with an answer, with a
transport failure, or by the timeout; giving back frees the slot and wakes the caller, or tells who started it.  The
system task may outlive that: a command given back by the timeout still travels, and lands when it lands (a ghost).
It stops only where the target forgets it: an abort, a reset, a new session.

A reset travels in the same way, one at a time.  What arrived before it is over; what arrives later, however early it
was sent, is not.  Once it is confirmed the initiator ends its own commands that the target dropped; those of other
nexuses end as the target tells them.

Every decision is made synchronously between awaits.  No awaiting happens between taking a carriage from the queue and
starting it, nor between a task's end and giving its carriage back; an await added there would break the order.
"""

import math
from collections import deque

import attrs
import trio

from mpio_fuse.errors import TransportError, TransportGone, UsageError
from mpio_fuse.scsi.command import Command, Completion, HostStatus
from mpio_fuse.target.logical_unit import LogicalUnitModel
from mpio_fuse.target.nexus import Nexus
from mpio_fuse.target.task import Answer, Progress, Task
from mpio_fuse.transport.contract import OnEnd, Started
from mpio_fuse.transport.data_phase import data_phase_of
from mpio_fuse.transport.simulated_link import Fault, Link, Loss
from mpio_fuse.transport.simulated_resets import ResetLane

MAXIMUM_TRANSFER_BYTES = 1 << 20
MAXIMUM_IN_FLIGHT = 16
"""As one open file of the sg driver has (SG_MAX_QUEUE)."""


@attrs.define(eq=False)
class _Carriage:
    """One command under way.  ``completion`` None when given back: the transport is gone.

    ``data`` keeps the caller's buffer from moving until then, as the layers below a real transport do.
    """

    command: Command
    nexus: Nexus
    data: memoryview
    data_out: bytes
    given_back: trio.Event = attrs.Factory(trio.Event)
    caller: trio.Event = attrs.Factory(trio.Event)
    """Wakes the caller: when it is given back, or the transport is gone."""

    on_end: OnEnd | None = None
    """Who started it and waits for its end, if nobody waits for ``caller``."""

    arrived: trio.Event = attrs.Factory(trio.Event)
    task: Task | None = None
    """What it is at the target, once it arrived there."""

    completion: Completion | None = None
    is_abandoned: bool = False

    def tell(self, how: Completion | Exception) -> None:
        """It is given back, or the transport is gone; who waits for it is told once."""
        self.caller.set()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(how)


@attrs.define(eq=False)
class _Reset:
    """A reset under way.  ``problem`` None: confirmed."""

    nexus: Nexus
    ended: trio.Event = attrs.Factory(trio.Event)
    problem: str | None = "nobody answered"

    def end(self, problem: str | None) -> None:
        self.problem = problem
        self.ended.set()


class SimulatedTransport:
    """Carries commands to a `LogicalUnitModel` over one nexus; ``link`` says what goes wrong on the way."""

    def __init__(
        self,
        model: LogicalUnitModel,
        nexus: Nexus,
        name: str = "sim0",
        *,
        max_transfer_bytes: int = MAXIMUM_TRANSFER_BYTES,
        max_in_flight: int = MAXIMUM_IN_FLIGHT,
        link: Link | None = None,
    ) -> None:
        self.model = model
        self.nexus = nexus
        self.link = Link() if link is None else link
        self._name = name
        self._max_transfer_bytes = max_transfer_bytes
        self._max_in_flight = max_in_flight
        self._queue: deque[_Carriage] = deque()
        self._under_way: list[_Carriage] = []
        self._resets = ResetLane(self._carry_reset, self._gone)
        self._is_gone = False
        self._is_starting = False
        self._former: list[SimulatedTransport] = []
        model.attach(nexus)

    @property
    def name(self) -> str:
        return self._name

    @property
    def max_transfer_bytes(self) -> int:
        return self._max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        return self._max_in_flight

    @property
    def stranded(self) -> int:
        commands = sum(carriage.is_abandoned for carriage in self._under_way)
        inherited = sum(one.on_their_way(self.nexus) for one in self._former)
        return commands + self._resets.stranded + inherited

    def inherit(self, former: "SimulatedTransport") -> None:
        """Follow one that is gone: what it left on its way is in the same kernel's hands, and ``stranded`` here."""
        self._former.append(former)

    def on_their_way(self, nexus: Nexus) -> int:
        """How many commands of this session have been sent, and have neither arrived nor been given back."""
        return sum(one.nexus == nexus and not one.arrived.is_set() for one in self._under_way)

    async def execute(self, command: Command) -> Completion:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_gone:
            raise self._gone()
        carriage = self._carriage_of(command)
        self._queue.append(carriage)
        self._start_queued()
        try:
            await carriage.caller.wait()
        except trio.Cancelled:
            self._abandon(carriage)
            raise
        if carriage.completion is None:
            raise self._gone()
        return carriage.completion

    async def reset_logical_unit(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_gone:
            raise self._gone()
        await self._resets.reset()

    async def aclose(self) -> None:
        self.vanish()
        await trio.lowlevel.checkpoint()

    def vanish(self) -> None:
        """The node is deleted: every call ends with `TransportGone` from now on; what is under way travels on."""
        self._is_gone = True
        waiting = [*self._queue, *self._under_way]
        for carriage in self._queue:
            carriage.data.release()
        self._queue.clear()
        for carriage in waiting:
            carriage.is_abandoned = True
            carriage.tell(self._gone())
        self._resets.end()

    def log_in_again(self, isid: str | None = None) -> Nexus:
        """A new session takes the place of this one, and the old one's commands die with it."""
        self.model.detach(self.nexus)
        self.nexus = self.nexus.logged_in_again(isid)
        self.model.attach(self.nexus)
        return self.nexus

    @property
    def _has_room(self) -> bool:
        """Whether a command could be sent now; then nobody waits who came first."""
        return not self._is_gone and len(self._under_way) < self._max_in_flight

    def _carriage_of(self, command: Command, on_end: OnEnd | None = None) -> _Carriage:
        phase = data_phase_of(command, self._max_transfer_bytes)
        data, data_out = memoryview(phase.data), bytes(command.data_out)
        return _Carriage(command, self.nexus, data, data_out, on_end=on_end)

    def _gone(self) -> TransportGone:
        hint = "open the device node again"
        return TransportGone("the simulated node is gone", underpath=self.name, hint=hint)

    def _start_queued(self) -> None:
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._queue and len(self._under_way) < self._max_in_flight:
                carriage = self._queue.popleft()
                self._under_way.append(carriage)
                self._start(carriage)
        finally:
            self._is_starting = False

    def _start(self, carriage: _Carriage) -> None:
        """What nothing delays is over when this returns, so that the order of arrival is the order of effect."""
        if self.link.is_down:
            self._give_back(carriage, Completion(host_status=self.link.refused_as))
            return
        fault = self.link.fault_of(carriage.command)
        if fault is None and self.link.is_instant:
            answer = self.model.execute(carriage.nexus, carriage.command.cdb, carriage.data_out)
            self._deliver(carriage, answer)
        else:
            trio.lowlevel.spawn_system_task(
                self._carry, carriage, fault, self._patience_s(carriage, fault), self.link.arrival_s
            )

    def _patience_s(self, carriage: _Carriage, fault: Fault | None) -> float:
        """After how long it is given back without an answer; of now, whatever becomes of the link."""
        if fault is not None and fault.after_s is not None:
            return fault.after_s
        return carriage.command.timeout_s if self.link.times_out else math.inf

    def _abandon(self, carriage: _Carriage) -> None:
        if carriage in self._queue:
            self._queue.remove(carriage)
            carriage.data.release()
        carriage.is_abandoned = True

    def _deliver(self, carriage: _Carriage, answer: Answer) -> None:
        """The answer came; a late one finds its carriage given back, and its buffer no longer lent."""
        if carriage not in self._under_way:
            return
        length_bytes = len(carriage.data) if carriage.command.data_in is not None else 0
        completion = answer.completion(length_bytes)
        received = length_bytes - completion.residual_bytes
        if received:
            carriage.data[:received] = answer.data_in[:received]
        self._give_back(carriage, completion)

    def _give_back(self, carriage: _Carriage, completion: Completion) -> None:
        if carriage not in self._under_way:
            return
        self._under_way.remove(carriage)
        carriage.data.release()
        carriage.completion = completion
        carriage.given_back.set()
        carriage.tell(completion)
        self._start_queued()

    async def _carry(
        self, carriage: _Carriage, fault: Fault | None, patience_s: float, arrival_s: float
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire, carriage, fault, patience_s)
            if fault is None or fault.loss is Loss.ANSWER:
                answer = await self._travel(carriage, arrival_s)
                if answer is not None and fault is None:
                    self._deliver(carriage, answer)

    async def _expire(self, carriage: _Carriage, fault: Fault | None, patience_s: float) -> None:
        """Give back what did not come back in time; what loses its answer, not before it has arrived."""
        with trio.move_on_after(patience_s):
            await carriage.given_back.wait()
        if fault is not None and fault.loss is Loss.ANSWER:
            await carriage.arrived.wait()
        host_status = HostStatus.TIME_OUT if fault is None else fault.host_status
        self._give_back(carriage, Completion(host_status=host_status))

    async def _travel(self, carriage: _Carriage, arrival_s: float) -> Answer | None:
        """To the target, in flight there, and back; None when no answer arrives."""
        await _sleep(arrival_s)
        if self._is_interrupted(carriage):
            return None
        task = self.model.arrive(carriage.nexus, carriage.command.cdb, carriage.data_out)
        carriage.task = task
        carriage.arrived.set()
        await self._in_flight(task)
        answer = task.perform()
        await _sleep(self.link.answer_s)
        return None if self._is_interrupted(carriage) else answer

    async def _in_flight(self, task: Task) -> None:
        """Wait while the target works, or until it aborts the command."""
        if not task.is_in_flight or not self.link.execution_s:
            return
        ended = trio.Event()
        task.on_end = ended.set
        with trio.move_on_after(self.link.execution_s):
            await ended.wait()

    def _is_interrupted(self, carriage: _Carriage) -> bool:
        """Whether the command was lost between the two sides; gives it back then."""
        if not self._is_cut(carriage.nexus):
            return False
        self._give_back(carriage, Completion(host_status=self.link.interrupted_as))
        carriage.arrived.set()
        return True

    def _is_cut(self, nexus: Nexus) -> bool:
        """The link is down, or the session has ended."""
        return self.link.is_down or nexus != self.nexus

    async def _carry_reset(self) -> None:
        """Wait for the end of a reset, as long as the link does; one that comes later takes effect all the same."""
        if self.link.is_down or not self.link.takes_resets:
            raise self._unconfirmed("the link is down" if self.link.is_down else "not supported")
        reset, fault = _Reset(self.nexus), self.link.fault_of_reset()
        after_s = None if fault is None else fault.after_s
        if after_s is None:
            after_s = self.link.reset_timeout_s if self.link.times_out else math.inf
        trio.lowlevel.spawn_system_task(self._reset_travels, reset, fault)
        with trio.move_on_after(after_s):
            await reset.ended.wait()
        if reset.problem is not None:
            raise self._unconfirmed(reset.problem)

    async def _reset_travels(self, reset: _Reset, fault: Fault | None) -> None:
        if fault is not None and fault.loss is Loss.COMMAND:
            return
        await _sleep(self.link.arrival_s)
        if self._is_cut(reset.nexus):
            reset.end("the link went down")
            return
        in_target = self._in_target()
        self.model.lun_reset(reset.nexus)
        dropped = [one for one, task in in_target if task.progress is Progress.ABORTED]
        if fault is not None:
            return
        await _sleep(self.link.reset_s + self.link.answer_s)
        if self._is_cut(reset.nexus):
            reset.end("the link went down")
            return
        for carriage in dropped:
            self._give_back(carriage, Completion(host_status=self.link.dropped_as))
        reset.end(None)

    def _in_target(self) -> list[tuple[_Carriage, Task]]:
        """The commands of this transport that the target works on."""
        return [(one, one.task) for one in self._under_way if one.task and one.task.is_in_flight]

    def _unconfirmed(self, problem: str) -> TransportError:
        return TransportError(
            f"the reset of the logical unit was not confirmed: {problem}",
            underpath=self.name,
            hint="try it over another underpath",
        )


@attrs.frozen(eq=False)
class _Started:
    """A command that was started, for who may abandon it."""

    _carriage: _Carriage

    def abandon(self) -> None:
        """As if its `SimulatedTransport.execute` were cancelled."""
        self._carriage.on_end = None
        self._carriage.is_abandoned = True


class StartingSimulatedTransport(SimulatedTransport):
    """One that also starts commands: where nothing delays a command, its end is told before `start` returns."""

    def start(self, command: Command, on_end: OnEnd) -> Started | None:
        """See `mpio_fuse.transport.contract.StartingTransport`."""
        if not self._has_room:
            return None
        try:
            carriage = self._carriage_of(command, on_end)
        except UsageError:
            return None
        self._under_way.append(carriage)
        self._start(carriage)
        return _Started(carriage)


async def _sleep(seconds: float) -> None:
    if seconds:
        await trio.sleep(seconds)
