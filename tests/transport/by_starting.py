"""A transport whose `execute` starts its commands where it can: so the whole suite is about `start` as well."""

from typing import Any, Protocol, TypeVar

import trio

from mpio_fuse.scsi.block import synchronize_cache
from mpio_fuse.scsi.command import Command, Completion
from mpio_fuse.transport.contract import StartingTransport, Transport


class ByStarting:
    """As the transport inside.  ``started`` counts what was not executed."""

    def __init__(self, inner: Transport) -> None:
        assert isinstance(inner, StartingTransport)
        self.inner: Transport = inner
        self.started = 0
        self._starting: StartingTransport = inner

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def max_transfer_bytes(self) -> int:
        return self.inner.max_transfer_bytes

    @property
    def max_in_flight(self) -> int:
        return self.inner.max_in_flight

    @property
    def stranded(self) -> int:
        return self.inner.stranded

    async def execute(self, command: Command) -> Completion:
        await trio.lowlevel.checkpoint_if_cancelled()
        task, ends = trio.lowlevel.current_task(), list[Completion | Exception]()
        is_waiting = is_abandoned = False

        def end(how: Completion | Exception) -> None:
            assert not ends, "told twice"
            assert not is_abandoned, "told after nobody waited any more"
            ends.append(how)
            if is_waiting:
                trio.lowlevel.reschedule(task)

        started = self._starting.start(command, end)
        if started is None:
            assert not ends, "nothing was done"
            return await self.inner.execute(command)
        self.started += 1

        def leave(_raise_cancel: object) -> trio.lowlevel.Abort:
            nonlocal is_abandoned
            is_abandoned = True
            started.abandon()
            return trio.lowlevel.Abort.SUCCEEDED

        if not ends:
            is_waiting = True
            await trio.lowlevel.wait_task_rescheduled(leave)
        (how,) = ends
        if isinstance(how, Exception):
            raise how
        return how

    async def reset_logical_unit(self) -> None:
        await self.inner.reset_logical_unit()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it has
        """What the bench knows of its transport besides."""
        return getattr(self.inner, name)


class _HasTransport(Protocol):
    transport: Any


B = TypeVar("B", bound=_HasTransport)


async def by_starting(bench: B) -> B:
    """The bench with its transport made so; it does start commands."""
    transport = bench.transport = ByStarting(bench.transport)
    assert (await transport.execute(synchronize_cache())).is_good
    assert transport.started
    return bench
