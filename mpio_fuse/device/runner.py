"""Runs one of the patent's procedures against the array: each box becomes commands, their answers an outcome.

What the figures leave out happens here and in the registrar: retries, unit attentions, lost answers, a release that
did nothing.  A box answers only once its outcome is known.
"""

from collections.abc import Awaitable, Callable

import structlog

from mpio_fuse.device.registrar import Registrar, ReserveState
from mpio_fuse.errors import NoUsableUnderpath
from mpio_fuse.reserve.procedure import (
    Act,
    Box,
    End,
    Outcome,
    Procedure,
    reservation_found,
)
from mpio_fuse.scsi.reservation_key import ReservationKey

log = structlog.get_logger(__name__)


async def run(lun: str, procedure: Procedure, act: Callable[[Box], Awaitable[Outcome]]) -> End:
    """From the first box to the end; ``act`` does what a box says.

    A box during which the last underpath goes silent ends the run as EIO: nothing more can be known.
    """
    try:
        here = next(procedure)
        while True:
            outcome = await act(here)
            log.debug("box", lun=lun, box=here.label, outcome=outcome.value)
            here = procedure.send(outcome)
    except StopIteration as stop:
        end: End = stop.value
        return end
    except NoUsableUnderpath as error:
        log.warning("procedure cut short", lun=lun, cause=str(error))
        return End.EIO
    finally:
        procedure.close()


class Runner:
    """One run of one procedure.

    Args:
        registrar: the device's.
        is_open_here: whether a grant stands, so that nothing may be registered with Ignore Existing Key.
        is_held_open_here: whether a handle of this host has the reservation open (tells OURS_AND_OPEN_HERE).
    """

    def __init__(
        self,
        registrar: Registrar,
        *,
        is_open_here: bool = False,
        is_held_open_here: bool = False,
    ) -> None:
        self._registrar = registrar
        self._is_open_here = is_open_here
        self._is_held_open_here = is_held_open_here
        self.state: ReserveState | None = None
        """What the last READ RESERVATION of this run said."""

    async def run(self, procedure: Procedure) -> End:
        """Run the procedure: see `run`."""
        return await run(self._registrar.lun, procedure, self._act)

    async def _act(self, here: Box) -> Outcome:
        match here.act:
            case Act.REGISTER_ALL:
                return await self._register_all()
            case Act.READ_RESERVATION:
                return await self._read_reservation(here)
            case Act.RESERVE:
                return await self._registrar.reserve()
            case Act.PREEMPT_AND_ABORT:
                return await self._registrar.preempt_and_abort(
                    self._holder(), may_register=not self._is_open_here
                )
            case Act.RELEASE:
                return await self._registrar.release()
            case Act.UNREGISTER_ALL:
                await self._registrar.unregister_all()
        # OPEN_ALL, CLOSE_ALL, OPEN_HOLDER: a registered underpath needs nothing more: its node stays
        # open as long as the device is there, and who runs this holds the I/O gate closed.
        return Outcome.DONE

    async def _register_all(self) -> Outcome:
        if self._is_open_here:
            return await self._registrar.confirm_all()
        return await self._registrar.register_all()

    async def _read_reservation(self, here: Box) -> Outcome:
        self.state = state = await self._registrar.read_state()
        return reservation_found(
            here,
            is_held=state.reservation.is_held,
            is_ours=state.is_held_by(self._registrar.key),
            is_held_open_here=self._is_held_open_here,
        )

    def _holder(self) -> ReservationKey:
        """The key that the figure has just been told of."""
        if self.state is None or self.state.reservation.holder is None:
            raise AssertionError("a figure preempts without having read whom")
        return self.state.reservation.holder
