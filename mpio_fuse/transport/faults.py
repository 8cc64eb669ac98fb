"""A transport around any other, on which commands fail as they were told to.

Theory of operation
-------------------
`FaultTransport` asks `Faults` about each command.  One that no fault strikes goes straight to the transport inside, and
all that this module adds is a question.  One that is struck becomes a `_Held`: it has one of ``max_in_flight`` places
here, in order of arrival, its buffers are pinned, and a system task of its own plays what the fault says, because that
must go on when its caller is cancelled.  It is *given back* once, with a completion or an error; that frees its place
and its buffers and wakes the caller.  An error told at once holds nothing and needs no place.

What may still be sent when its caller already believes it is over (a lost answer) is sent as a copy: the
caller has its buffers back.  That command is not ``stranded`` either, as it is not with a transport that reports a
timeout while the target still works.  These are the ghosts that the layers above must survive.

*Hung* commands are let go when their fault is lifted or its time is over: they are sent then, however late.  Those
whose end was never to be told end with TIME_OUT then.

*Gone* closes the transport inside, so everything under way ends; it stays gone when the fault is lifted, until somebody
opens the underpath anew.

A reset is a command here (`RESET`, without a CDB) with a place of its own; a completion that is not good is a
`TransportError` to its caller.

The places here and those inside are counted apart, so commands that are not struck go on beside ``max_in_flight``
that hang.
"""

import contextlib

import attrs
import trio

from mpio_fuse.errors import MpioError, TransportError, TransportGone
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.scsi.verdict import describe
from mpio_fuse.transport.contract import Transport
from mpio_fuse.transport.data_phase import data_phase_of
from mpio_fuse.transport.fault_set import Fault, Faults
from mpio_fuse.transport.fault_spec import TIMED_OUT, Action
from mpio_fuse.transport.fault_words import RESET
from mpio_fuse.transport.slots import Slots


@attrs.define(eq=False)
class _Held:
    """One command that a fault has.  ``is_sent``: the transport inside has it now, and counts it when closed."""

    fault: Fault
    command: Command
    slot: int
    data: memoryview
    ended: trio.Event = attrs.Factory(trio.Event)
    released: trio.Event = attrs.Factory(trio.Event)
    completion: Completion | None = None
    error: Exception | None = None
    is_sent: bool = False
    is_abandoned: bool = False

    def result(self) -> Completion:
        """How it ended; raises what the transport inside raised."""
        if self.error is not None:
            raise self.error
        assert self.completion is not None  # noqa: S101 - it was given back
        return self.completion


class FaultTransport:
    """A `Transport` that does what ``inner`` does, unless one of ``faults`` strikes."""

    def __init__(self, inner: Transport, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self._slots = Slots(inner.max_in_flight)
        self._reset_slot = Slots(1)
        self._held: list[_Held] = []
        self._is_over = False

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def max_transfer_bytes(self) -> int:
        return self._inner.max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        return self._inner.max_in_flight

    @property
    def stranded(self) -> int:
        return sum(held.is_abandoned for held in self._held) + self._inner.stranded

    async def execute(self, command: Command) -> Completion:
        await trio.lowlevel.checkpoint_if_cancelled()
        fault = self._struck_by(command)
        if fault is None:
            return await self._send(command)
        return await self._play(fault, command)

    async def reset_logical_unit(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        fault = self._struck_by(RESET)
        if fault is None:
            await self._send(RESET)
            return
        completion = await self._play(fault, RESET)
        if not completion.is_good:
            what = f"{RESET.name} was not confirmed: {describe(completion)} ({_blamed(fault)})"
            raise TransportError(what, underpath=self.name, hint="it may have happened")

    async def aclose(self) -> None:
        self._end()
        await self._inner.aclose()

    def _struck_by(self, command: Command) -> Fault | None:
        """The fault that has the command.  When the transport is over, that is all there is to say: none."""
        if self._is_over or not self._faults:
            return None
        if command is not RESET:
            data_phase_of(command, self.max_transfer_bytes)
        return self._faults.strike(self.name, command, trio.current_time())

    async def _send(self, command: Command) -> Completion:
        """Have the transport inside carry it."""
        try:
            if command is not RESET:
                return await self._inner.execute(command)
            await self._inner.reset_logical_unit()
        except TransportGone:
            self._end()
            raise
        return Completion()

    async def _play(self, fault: Fault, command: Command) -> Completion:
        if fault.spec.action is Action.GONE:
            self._end()
            with trio.CancelScope(shield=True):
                await self._inner.aclose()
            raise self._gone_error(fault)
        if fault.spec.action is Action.ERROR and not fault.spec.at_s:
            await trio.lowlevel.checkpoint()
            return _told(fault, command)
        return await self._hold(fault, command)

    async def _hold(self, fault: Fault, command: Command) -> Completion:
        slot = await self._slots_of(command).take(self)
        # No await between here and the task's start: a place that is taken has somebody who gives it back.
        buffer = command.data_out if command.data_in is None else command.data_in
        held = _Held(fault, command, slot, memoryview(buffer))
        self._held.append(held)
        fault.hold(held.released)
        trio.lowlevel.spawn_system_task(self._carry, held)
        try:
            await held.ended.wait()
        except trio.Cancelled:
            held.is_abandoned = True
            raise
        return held.result()

    def _slots_of(self, command: Command) -> Slots:
        return self._reset_slot if command is RESET else self._slots

    async def _carry(self, held: _Held) -> None:
        """Play the fault to its end, whoever still waits for it."""
        try:
            match held.fault.spec.action:
                case Action.DELAY:
                    completion = await self._delayed(held)
                case Action.HANG:
                    completion = await self._hung(held)
                case Action.LOSE_ANSWER:
                    trio.lowlevel.spawn_system_task(self._send_unheard, _copy(held.command))
                    completion = await _told_in_time(held)
                case _:
                    completion = await _told_in_time(held)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's, not this task's
            self._give_back(held, error=error)
        else:
            self._give_back(held, completion)

    async def _delayed(self, held: _Held) -> Completion:
        spec = held.fault.spec
        if not spec.is_answer_delayed:
            await trio.sleep(spec.delay_s)
        completion = await self._send_held(held)
        if spec.is_answer_delayed:
            await trio.sleep(spec.delay_s)
        return completion

    async def _hung(self, held: _Held) -> Completion:
        with trio.move_on_at(held.fault.ends_at_s or float("inf")):
            await held.released.wait()
        return await self._send_held(held)

    async def _send_held(self, held: _Held) -> Completion:
        held.is_sent = True
        completion = await self._send(held.command)
        held.is_sent = False
        return completion

    async def _send_unheard(self, command: Command) -> None:
        with contextlib.suppress(MpioError):
            await self._send(command)

    def _give_back(
        self, held: _Held, completion: Completion | None = None, error: Exception | None = None
    ) -> None:
        """The one end of a command that is held; later ones change nothing."""
        if held not in self._held:
            return
        self._held.remove(held)
        held.data.release()
        held.fault.forget(held.released)
        if not held.ended.is_set():
            held.completion, held.error = completion, error
            held.ended.set()
        self._slots_of(held.command).give_back(held.slot)

    def _end(self) -> None:
        """Nothing is sent any more: every caller is told so.  What is delayed is stranded until its time is over."""
        if self._is_over:
            return
        self._is_over = True
        for slots in (self._slots, self._reset_slot):
            slots.refuse_waiting(self, self._gone_error)
        for held in list(self._held):
            if held.is_sent:
                self._give_back(held, error=self._gone_error())
            elif not held.ended.is_set():
                held.error, held.is_abandoned = self._gone_error(), True
                held.ended.set()
                held.released.set()

    def _gone_error(self, fault: Fault | None = None) -> TransportGone:
        cause = f"gone ({_blamed(fault)})" if fault else "gone: closed, or its device was deleted"
        return TransportGone(cause, underpath=self.name, hint="open it again")


async def _told_in_time(held: _Held) -> Completion:
    """What the caller is told instead of the truth, once it is time to."""
    spec = held.fault.spec
    if spec.told is None:
        with trio.move_on_at(held.fault.ends_at_s or float("inf")):
            await held.released.wait()
    else:
        await trio.sleep(held.command.timeout_s if spec.at_s is None else spec.at_s)
    return _told(held.fault, held.command)


def _told(fault: Fault, command: Command) -> Completion:
    """The completion of the fault; nothing of the data was transferred."""
    length_bytes = len(command.data_out if command.data_in is None else command.data_in)
    return attrs.evolve(fault.spec.told or TIMED_OUT, residual_bytes=length_bytes)


def _copy(command: Command) -> Command:
    """The same with buffers of its own, for when the caller gets back theirs first."""
    if command is RESET:
        return command
    data_in = None if command.data_in is None else bytearray(len(command.data_in))
    return attrs.evolve(command, data_out=bytes(command.data_out), data_in=data_in)


def _blamed(fault: Fault) -> str:
    return f"lab: fault {fault.number}"
