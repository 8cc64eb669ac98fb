"""When a daemon is to stop, and why: a signal, a request, or the unmounting of its tree."""

import signal

import attrs
import structlog
import trio

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@attrs.define(eq=False)
class Stopping:
    """``startup`` is what a stop cancels before anything is served."""

    requested: trio.Event = attrs.Factory(trio.Event)
    startup: trio.CancelScope = attrs.Factory(trio.CancelScope)

    def request(self) -> None:
        """Stop in order."""
        self.requested.set()
        self.startup.cancel()


async def watch_signals(
    stopping: Stopping, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn signals into a request to stop; further ones change nothing.  Runs until cancelled."""
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            stopping.request()
