"""The world of one schedule: the array, the hosts, and the users' requests."""

import itertools
import math
from collections.abc import Awaitable, Callable

import trio

from mpio_fuse.device.logical_unit import LogicalUnit
from mpio_fuse.errors import Fenced, MpioError
from mpio_fuse.reserve.fig07_decision import OpenOption
from mpio_fuse.scsi import pr_out
from mpio_fuse.scsi.capacity import Capacity
from mpio_fuse.scsi.command import Command
from mpio_fuse.scsi.identity import Wwid, WwidKind
from mpio_fuse.scsi.reservation_key import ZERO_KEY
from mpio_fuse.target.nexus import Nexus
from tests.schedules.array import BLOCKS, KEYS, TYPE, ArrayUnit
from tests.schedules.chronicle import (
    Began,
    Chronicle,
    Ended,
    Granted,
    Kind,
    Outcome,
)
from tests.schedules.hosts import Life, Opened, SimHost
from tests.schedules.schedule import Setup
from tests.schedules.stamps import BLOCK_BYTES, CELL_BYTES, CELLS_PER_BLOCK, stamped, stamps_of

ATTENTIONS = 8
"""More than can wait for one nexus."""


class World:
    """Everything that a schedule happens to."""

    def __init__(self, setup: Setup, nursery: trio.Nursery) -> None:
        self.setup = setup
        self.nursery = nursery
        self.chronicle = Chronicle(trio.current_time, lambda: self.unit.state.step)
        self.unit = ArrayUnit(
            self.chronicle, setup.quirks, has_volatile_cache=setup.has_volatile_cache
        )
        identity = self.unit.state.identity
        self.logical_unit = LogicalUnit(
            wwid=Wwid(WwidKind.NAA, identity.naa),
            vendor=identity.vendor,
            product=identity.product,
            revision=identity.revision,
            capacity=Capacity(BLOCKS - 1, BLOCK_BYTES),
            max_transfer_blocks=setup.max_transfer_blocks,
            has_persistent_reserve=True,
        )
        self.third = Nexus("iqn.host-x", 9)
        self.pending: dict[int, tuple[Life, trio.CancelScope]] = {}
        self.is_epilogue = False
        self.is_healed = False
        self.longest_delay_s = 0.0
        self.is_short = setup.is_short
        self._requests = itertools.count(1)
        self._handles = itertools.count(1)
        self.hosts = {one.name: SimHost(self, one) for one in setup.hosts}

    def later(self, after_s: float, do: Callable[[], object]) -> None:
        """Do something after a while; the epilogue does not wait for it."""

        async def wait() -> None:
            await trio.sleep(after_s)
            if not self.is_healed:
                do()

        self.nursery.start_soon(wait)

    # -- an initiator that is none of our hosts

    def as_third(self, command: Command) -> None:
        """Carry a command out for it; what it is told in unit attentions it does not care about."""
        for _ in range(ATTENTIONS):
            if self.unit.execute(self.third, command.cdb, bytes(command.data_out)).is_good:
                break

    def third_leaves(self) -> None:
        """It releases what it holds, and is registered no more."""
        if self.unit.persistent.of(self.third) is not None:
            self.as_third(pr_out.release(KEYS["x"], TYPE))
            self.as_third(pr_out.register(KEYS["x"], ZERO_KEY))

    # -- requests: each begins, and ends once

    async def request(
        self,
        life: Life,
        kind: Kind,
        do: Callable[[], Awaitable[object]],
        cancel_after_s: float | None = None,
        number: int | None = None,
        **facts: object,
    ) -> bool:
        """Ask for something, and write down what was told; whether it went well."""
        if life.is_over:
            return False
        if number is None:
            number = next(self._requests)
        self.chronicle.add(
            Began,
            request=number,
            kind=kind,
            host=life.host.name,
            life=life.number,
            is_epilogue=self.is_epilogue,
            **facts,
        )
        outcome, told = Outcome.CANCELLED, ""
        found: object = None
        with trio.move_on_after(math.inf if cancel_after_s is None else cancel_after_s) as scope:
            self.pending[number] = (life, scope)
            try:
                found = await do()
                outcome = Outcome.OK
            except Fenced as error:
                outcome, told = Outcome.FENCED, str(error)
            except MpioError as error:
                outcome, told = Outcome.ERROR, str(error)
            except Exception as error:  # noqa: BLE001 (whatever it is, a user would have got it)
                outcome, told = Outcome.BUG, repr(error)
        self._end(number, outcome, told, found)
        return outcome is Outcome.OK

    def _end(self, number: int, outcome: Outcome, told: str, found: object) -> None:
        if self.pending.pop(number, None) is None:
            return  # its daemon was killed; that was its end
        seen = found if isinstance(found, tuple) else ()
        self.chronicle.add(Ended, request=number, outcome=outcome, told=told, found=seen)

    def forget_requests_of(self, life: Life) -> None:
        """Their daemon dies under them."""
        for number in [one for one, (whose, _) in self.pending.items() if whose is life]:
            self._end(number, Outcome.CRASHED, "", None)

    def cut_off_requests_of(self, life: Life) -> None:
        """Their daemon was told to stop."""
        for whose, scope in self.pending.values():
            if whose is life:
                scope.cancel()

    # -- what users do

    async def open(
        self, life: Life, slot: int, options: OpenOption, cancel_after_s: float | None = None
    ) -> bool:
        """Open into a slot that is free."""
        if slot in life.slots or not life.is_mounted:
            return False
        opened = life.slots[slot] = Opened(next(self._handles))

        async def do() -> None:
            opened.handle = await life.device.open(options)
            opened.is_shared = OpenOption.NO_RESERVE in options
            if not life.is_over:
                self.chronicle.add(
                    Granted,
                    host=life.host.name,
                    life=life.number,
                    handle=opened.number,
                    options=options,
                )

        is_good = await self.request(
            life, Kind.OPEN, do, cancel_after_s, handle=opened.number, options=options
        )
        if opened.handle is None:
            life.slots.pop(slot, None)
        return is_good

    async def close(self, life: Life, slot: int, cancel_after_s: float | None = None) -> bool:
        """Close what is in the slot."""
        opened = life.slots.get(slot)
        if opened is None or opened.handle is None or life.is_over:
            return False
        del life.slots[slot]
        handle = opened.handle
        if opened.uses:
            await opened.is_unused.wait()
        if not life.is_mounted:
            return False  # an unmount has come first, and closes it
        return await self.request(
            life, Kind.CLOSE, handle.aclose, cancel_after_s, handle=opened.number
        )

    async def write(
        self,
        life: Life,
        slot: int,
        cells: range,
        cancel_after_s: float | None = None,
        *,
        is_durable: bool = False,
    ) -> bool:
        """Write the request's stamp to these cells; whole blocks where hosts share the disk."""
        opened = life.slots.get(slot)
        if opened is None or opened.handle is None or life.is_over:
            return False
        if opened.is_shared:
            cells = _whole_blocks(cells)
        handle = opened.handle
        number = next(self._requests)

        async def do() -> None:
            data = stamped(number, len(cells))
            with opened.used():
                await handle.write(cells.start * CELL_BYTES, data, durable=is_durable)

        return await self.request(
            life,
            Kind.WRITE,
            do,
            cancel_after_s,
            number,
            handle=opened.number,
            cells=cells,
            is_durable=is_durable,
        )

    async def read(
        self, life: Life, slot: int, cells: range, cancel_after_s: float | None = None
    ) -> bool:
        """Read these cells."""
        opened = life.slots.get(slot)
        if opened is None or opened.handle is None or life.is_over:
            return False
        handle = opened.handle

        async def do() -> tuple[int, ...]:
            with opened.used():
                data = await handle.read(cells.start * CELL_BYTES, len(cells) * CELL_BYTES)
            return stamps_of(bytes(data))

        return await self.request(
            life, Kind.READ, do, cancel_after_s, handle=opened.number, cells=cells
        )

    async def flush(self, life: Life, slot: int, cancel_after_s: float | None = None) -> bool:
        """Flush; what is on the medium itself when it is told that it is there."""
        opened = life.slots.get(slot)
        if opened is None or opened.handle is None or life.is_over:
            return False
        handle = opened.handle

        async def do() -> tuple[int, ...]:
            with opened.used():
                await handle.flush()
            return self.unit.on_medium()

        return await self.request(life, Kind.FLUSH, do, cancel_after_s, handle=opened.number)


def _whole_blocks(cells: range) -> range:
    start = cells.start - cells.start % CELLS_PER_BLOCK
    stop = -(-cells.stop // CELLS_PER_BLOCK) * CELLS_PER_BLOCK
    return range(start, stop)
